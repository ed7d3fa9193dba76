import { once } from "node:events";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type HandlerContext, type ServiceImpl, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { detailOf, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { internalTokenHeader } from "@turnwright/platform/identity/identity";
import { createGrpcTransport as createGrpcJsTransport } from "@turnwright/platform/rpc/grpc-transport";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alice, aliceKey, type Fixture, startFixture } from "../../testing/gateway.ts";
import { compileLibrary } from "../../testing/library.ts";

const library = compileLibrary();
const shelf = "0190a000-0000-7000-8000-00000000000a";

type Fields = Record<string, unknown>;
type Call = (request: Fields, options?: Fields) => Promise<Fields>;
type Stream = (request: Fields, options?: Fields) => AsyncIterable<Fields>;

const message = (name: string, init: Fields) => create(library.message(name), init as MessageInitShape<never>);

const served = mount(library.service, {
  listBooks({ words }: Fields) {
    if ((words as string[]).includes("missing")) throw fail(ErrorReason.NOT_FOUND, "No such shelf.", { param: "shelf_id" });
    if ((words as string[]).includes("bug")) throw new TypeError("secret of the house");
    return { books: [message("Book", { title: "Emma" })], total: 1 };
  },
  async *watchShelf(_request: unknown, context: HandlerContext) {
    yield message("ReadResponse", { word: "watching" });
    if (!context.signal.aborted) await once(context.signal, "abort");
  },
  async *streamRead({ text }: Fields) {
    for (const [place, word] of String(text).split(" ").entries()) {
      if (word === "broken") throw fail(ErrorReason.TOOL_FAILED, "The page is torn.");
      yield message("ReadResponse", { word, place });
    }
  },
  putBook(_request: unknown, context: HandlerContext) {
    const key = context.requestHeader.get("idempotency-key");
    if (key === "again") context.responseHeader.set("idempotent-replayed", "true");
    return { book: message("Book", { title: key ?? "no key" }) };
  },
  getRules: () => ({}),
  inventory: () => ({}),
} as unknown as ServiceImpl<typeof library.service>);

let gateway: Fixture;
beforeAll(async () => {
  gateway = await startFixture({ mounts: [served] });
});
afterAll(() => gateway.close());

const headers = { authorization: `Bearer ${aliceKey}` };

describe.each<[string, (url: string) => Transport & { close?: () => void }]>([
  ["Connect over HTTP/1.1", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
  ["Connect over HTTP/2", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true })],
  ["gRPC-web", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
  ["grpc-js", (baseUrl) => createGrpcJsTransport({ addresses: [new URL(baseUrl).host] })],
])("%s", (_name, open) => {
  let transport: Transport & { close?: () => void };
  let client: Record<"listBooks" | "putBook" | "getRules" | "inventory", Call> & Record<"watchShelf" | "streamRead", Stream>;
  beforeAll(() => {
    transport = open(gateway.url);
    client = createClient(library.service, transport) as unknown as typeof client;
  });
  afterAll(() => transport.close?.());

  async function refusal(work: Promise<unknown>): Promise<ConnectError> {
    try {
      await work;
    } catch (error) {
      if (error instanceof ConnectError) return error;
      throw error;
    }
    throw new Error("was not refused");
  }

  test("forwards a call to the service with the caller's identity and without the credential", async () => {
    const answer = await client.listBooks({ shelfId: shelf }, { headers: { ...headers, "x-request-id": "call-1" } });
    expect(answer).toMatchObject({ total: 1, books: [{ title: "Emma" }] });
    const { header } = gateway.calls.at(-1) ?? {};
    expect(header?.get(internalTokenHeader)).toBe(`internal-of-${alice.userId}`);
    expect(header?.get("x-request-id")).toBe("call-1");
    expect(header?.has("authorization")).toBe(false);
  });

  test("forwards an idempotency key where the method takes one, and marks a replayed response", async () => {
    const put = async (key: string) => {
      let replayed: string | null = null;
      const onHeader = (header: Headers) => {
        replayed = header.get("idempotent-replayed");
      };
      const { book } = await client.putBook(
        { shelfId: shelf, book: {} },
        { headers: { ...headers, "idempotency-key": key }, onHeader },
      );
      return { title: (book as Fields).title, replayed };
    };
    expect(await put("first")).toEqual({ title: "first", replayed: null });
    expect(await put("again")).toEqual({ title: "again", replayed: "true" });
    const refused = await refusal(put("k".repeat(256)));
    expect(detailOf(refused)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "Idempotency-Key" });
    await client.listBooks({ shelfId: shelf }, { headers: { ...headers, "idempotency-key": "k".repeat(256) } });
    const { header } = gateway.calls.at(-1) ?? {};
    expect(header?.has("idempotency-key")).toBe(false);
  });

  test("forwards a stream", async () => {
    const words = [];
    for await (const { word } of client.streamRead({ text: "Once upon a time" })) words.push(word);
    expect(words).toEqual(["Once", "upon", "a", "time"]);
  });

  test("forwards the reason of an error, and hides unexpected errors", async () => {
    const missing = await refusal(client.listBooks({ shelfId: shelf, words: ["missing"] }, { headers }));
    expect(missing.code).toBe(Code.NotFound);
    expect(missing.rawMessage).toBe("No such shelf.");
    expect(detailOf(missing)).toMatchObject({ reason: ErrorReason.NOT_FOUND, param: "shelf_id" });
    const bug = await refusal(client.listBooks({ shelfId: shelf, words: ["bug"] }, { headers }));
    expect(bug.code).toBe(Code.Internal);
    expect(bug.message).not.toContain("secret");
  });

  test("forwards an error in the middle of a stream, after all that came before it", async () => {
    const text = "Once upon a time there was a long sentence of thirty words".split(" ");
    const words: unknown[] = [];
    const reading = (async () => {
      for await (const { word } of client.streamRead({ text: `${text.join(" ")} broken` })) {
        words.push(word);
        // A reader with work to do is behind the wire.
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    expect(reasonOf(await refusal(reading))).toBe(ErrorReason.TOOL_FAILED);
    expect(words).toEqual(text);
  });

  test("requires credentials and refuses wrong ones", async () => {
    expect(reasonOf(await refusal(client.listBooks({ shelfId: shelf })))).toBe(ErrorReason.UNAUTHENTICATED);
    const wrong = { headers: { authorization: "Bearer sk-wrong-0123456789abcdefghij" } };
    expect(reasonOf(await refusal(client.listBooks({ shelfId: shelf }, wrong)))).toBe(ErrorReason.INVALID_TOKEN);
  });

  test("serves public methods without credentials", async () => {
    await client.getRules({});
  });

  test("does not serve methods for services of the mesh", async () => {
    const error = await refusal(client.inventory({}, { headers: { ...headers, "x-turnwright-service": "forged" } }));
    expect([Code.Unimplemented, Code.NotFound]).toContain(error.code);
    const tokens = createClient(TokenService, transport);
    const exchange = await refusal(tokens.exchangeToken({ token: aliceKey }, { headers }));
    expect([Code.Unimplemented, Code.NotFound]).toContain(exchange.code);
  });

  test("cancels the call in the mesh when the client cancels its own", async () => {
    const controller = new AbortController();
    const before = gateway.calls.length;
    const watching = (async () => {
      for await (const { word } of client.watchShelf({ shelfId: shelf }, { headers, signal: controller.signal })) {
        expect(word).toBe("watching");
        const { signal } = gateway.calls.slice(before).find(({ method }) => method === "WatchShelf") ?? {};
        const aborted = once(signal as AbortSignal, "abort");
        controller.abort();
        await aborted;
      }
    })();
    expect((await refusal(watching)).code).toBe(Code.Canceled);
  });

  test("logs the call with its caller", async () => {
    const id = crypto.randomUUID();
    await client.listBooks({ shelfId: shelf }, { headers: { ...headers, "x-request-id": id } });
    const line = await gateway.logged(({ request_id }) => request_id === id);
    expect(line).toMatchObject({ route: "/fixture.v1.LibraryService/ListBooks", user_id: alice.userId });
  });
});
