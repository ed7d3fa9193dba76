import { create, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { aliceKey, startFixture } from "../../testing/gateway.ts";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import { dial, type RawConnection } from "../../testing/raw-connection.ts";
import { bodyOf, codeOf, headOf, type RpcFormat, rpcFormats } from "../../testing/rpc-requests.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_AUTH_PER_MINUTE: "1000" });
const { library, open } = gateway;
const at = (method: string) => `/fixture.v1.LibraryService/${method}`;
const authorization = `Bearer ${aliceKey}`;
const unary = rpcFormats.filter(({ kind }) => kind !== "stream");
const streamed = rpcFormats.filter(({ kind }) => kind !== "unary");
const userCalls = [
  ...unary.map((format) => [at("ListBooks"), format.contentType, format] as const),
  ...streamed.map((format) => [at("WatchShelf"), format.contentType, format] as const),
];

/** Sends headers that announce a body, but no byte of it: an answer can only be one that needs no body. */
async function answerWithoutBody(path: string, headers: Record<string, string>, method = "POST") {
  const connection = await open();
  connection.write(headOf(path, { "content-length": 1_000_000, ...headers }, method));
  return connection.answer();
}

const shelf = "0190a000-0000-7000-8000-00000000000a";
function message(name: string, init: Record<string, unknown>, { isJson }: RpcFormat): Uint8Array {
  const value = create(library.message(name), init as MessageInitShape<never>);
  return isJson ? Buffer.from(toJsonString(library.message(name), value)) : toBinary(library.message(name), value);
}

describe("before a byte of the body has arrived", () => {
  test.each(userCalls)("%s as %s is refused without a credential", async (path, contentType, format) => {
    const answer = await answerWithoutBody(path, { "content-type": contentType });
    expect(answer && codeOf(format, answer)).toBe("unauthenticated");
  });

  test.each(userCalls)("%s as %s is refused with an invalid credential", async (path, contentType, format) => {
    const headers = { "content-type": contentType, authorization: `Bearer ${aliceKey}x` };
    const answer = await answerWithoutBody(path, headers);
    expect(answer && codeOf(format, answer)).toBe("unauthenticated");
  });

  test.each(userCalls)("%s as %s is refused with a body of an encoding that nobody knows", async (path, contentType, format) => {
    const headers = { "content-type": contentType, [format.encodingHeader]: "gzip, gzip" };
    const answer = await answerWithoutBody(path, headers);
    expect(answer && codeOf(format, answer)).toBe("unauthenticated");
  });

  test.each([
    ["PUT", `/v1/shelves/${shelf}/books/1`],
    ["POST", "/v1/chat/completions"],
  ])("REST and OpenAI refuse %s %s without a credential", async (method, path) => {
    const answer = await answerWithoutBody(path, { "content-type": "application/json" }, method);
    expect(answer?.status).toBe(401);
    expect(JSON.parse(answer?.body ?? "")).toMatchObject({ success: false, error: { code: "UNAUTHORIZED" } });
  });

  test("methods that check or create credentials are counted by address, on all protocols together", async () => {
    const limited = await startFixture({ mounts: [gateway.mount], env: { RATE_LIMIT_AUTH_PER_MINUTE: "2" } });
    const calls = [
      ...unary.map((format) => [at("Read"), format] as const),
      ...streamed.map((format) => [at("StreamRead"), format] as const),
    ];
    const sent: RawConnection[] = [];
    try {
      // Two admitted calls wait for their bodies; later ones are refused before that.
      for (const [path, { contentType }] of calls.slice(0, 2)) {
        const connection = await dial(limited.port);
        sent.push(connection);
        connection.write(headOf(path, { "content-type": contentType, "content-length": 100 }));
      }
      for (const [path, format] of calls.slice(2)) {
        const connection = await dial(limited.port);
        sent.push(connection);
        connection.write(headOf(path, { "content-type": format.contentType, "content-length": 100 }));
        const answer = await connection.answer();
        expect(answer && codeOf(format, answer), format.contentType).toBe("resource_exhausted");
      }
      const rest = await dial(limited.port);
      sent.push(rest);
      rest.write(headOf("/v1/readings", { "content-type": "application/json", "content-length": 100 }));
      expect((await rest.answer())?.status).toBe(429);
      expect(limited.calls).toEqual([]);
    } finally {
      for (const { socket } of sent) socket.destroy();
      await limited.close();
    }
  });
});

describe("a body larger than its path accepts", () => {
  test.each([
    ...unary.map((format) => [at("Read"), format.contentType, format] as const),
    ...streamed.map((format) => [at("StreamRead"), format.contentType, format] as const),
  ])("is refused by its headers alone where no credential is asked for: %s as %s", async (path, contentType, format) => {
    const answer = await answerWithoutBody(path, { "content-type": contentType, "content-length": "16390" });
    expect(answer && codeOf(format, answer)).toBe("resource_exhausted");
  });

  test("is refused by REST too", async () => {
    const answer = await answerWithoutBody("/v1/readings", { "content-type": "application/json", "content-length": "16385" });
    expect(answer?.status).toBe(413);
  });
});

test.each(userCalls)("with a credential %s as %s waits for its body and is served", async (path, contentType, format) => {
  const name = path.endsWith("ListBooks") ? "ListBooksRequest" : "WatchShelfRequest";
  const body = bodyOf(message(name, { shelfId: shelf }, format), format);
  const connection = await open();
  connection.write(headOf(path, { "content-type": contentType, "content-length": body.length, authorization }));
  connection.write(body);
  const answer = await connection.answer();
  expect(answer && codeOf(format, answer)).toBe("ok");
});
