import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { describe, expect, test } from "vitest";
import { aliceKey } from "../../testing/gateway.ts";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import { codeOf, headOf, rpcFormats } from "../../testing/rpc-requests.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_AUTH_PER_MINUTE: "1000" });
const { open } = gateway;
const service = "/fixture.v1.LibraryService";
const large = Buffer.alloc(3_000_000, 0x61);
/** As many bytes as are read after a final response. */
const medium = Buffer.alloc(400_000, 0x61);
const small = Buffer.alloc(2_000, 0x61);
const next = headOf("/health", {}, "GET");

/** Requests that are answered without reading their bodies, and the expected status. */
const refusals: readonly (readonly [string, string, string, Record<string, string>, number])[] = [
  ...rpcFormats.map(({ contentType, kind }) => {
    const path = `${service}/${kind === "stream" ? "WatchShelf" : "ListBooks"}`;
    const status = kind === "unary" ? 401 : 200;
    return [`${contentType} without a credential`, "POST", path, { "content-type": contentType }, status] as const;
  }),
  ["Connect with a verb that it does not serve", "PUT", `${service}/ListBooks`, { "content-type": "application/json" }, 405],
  ["Connect with a type that it does not serve", "POST", `${service}/ListBooks`, { "content-type": "text/plain" }, 415],
  ["REST without a credential", "PUT", "/v1/shelves/a/books/1", { "content-type": "application/json" }, 401],
  ["REST with a type that it does not take", "POST", "/v1/readings", { "content-type": "text/plain" }, 415],
  ["REST with a type that is none", "POST", "/v1/readings", { "content-type": ";;" }, 415],
  ["REST with an encoding", "POST", "/v1/readings", { "content-type": "application/json", "content-encoding": "gzip" }, 415],
  ["OpenAI without a credential", "POST", "/v1/chat/completions", { "content-type": "application/json" }, 401],
  ["OpenAI with a wrong credential", "POST", "/v1/chat/completions", { authorization: "Bearer x" }, 401],
  ["a path that is not served", "POST", "/nothing", { "content-type": "application/json" }, 404],
  ["a verb that is not served", "DELETE", "/v1/readings", {}, 405],
  ["a verb of WebDAV", "PROPFIND", "/v1/readings", {}, 405],
  ["a path that is none", "POST", "/%", {}, 400],
  ["a GET that is served", "GET", "/health", {}, 200],
  ["a document", "GET", "/openapi.json", {}, 200],
];

describe("a body that nobody reads", () => {
  test.each(refusals)(
    "when it is large, closes the connection behind an answer that can be read: %s",
    async (_what, method, path, headers, status) => {
      const connection = await open();
      connection.write(headOf(path, { ...headers, "content-length": large.length }, method));
      // Sends the whole body before it reads, as many clients do.
      connection.socket.pause();
      await new Promise((resolve) => connection.socket.write(large, resolve));
      connection.socket.resume();
      const answer = await connection.answer();
      expect([answer?.status, answer?.headers.connection]).toEqual([status, "close"]);
      await connection.ended;
      expect(connection.error()).toBeUndefined();
    },
  );

  test.each(refusals)(
    "when it is read behind the answer, closes the connection without a reset: %s",
    async (_what, method, path, headers, status) => {
      const connection = await open();
      connection.write(headOf(path, { ...headers, "content-length": medium.length }, method));
      const answer = await connection.answer();
      expect([answer?.status, answer?.headers.connection]).toEqual([status, "close"]);
      await connection.ended;
      // In pieces: a reset shows with the next write.
      for (let at = 0; at < medium.length; at += 20_000) {
        await new Promise((resolve) => connection.socket.write(medium.subarray(at, at + 20_000), resolve));
      }
      connection.socket.end();
      if (!connection.socket.closed) await once(connection.socket, "close");
      expect(connection.error()).toBeUndefined();
    },
  );

  test.each(refusals)(
    "when it is small, leaves the connection to the next request, or says that it does not: %s",
    async (_what, method, path, headers, status) => {
      const connection = await open();
      connection.write(headOf(path, { ...headers, "content-length": small.length }, method));
      const answer = await connection.answer();
      expect(answer?.status).toBe(status);
      // A body that arrives after the answer still precedes the next request.
      connection.write(small);
      connection.write(next);
      const isClosed = answer?.headers.connection === "close";
      expect((await connection.answer())?.status).toBe(isClosed ? undefined : 200);
      expect(connection.error()).toBeUndefined();
      // An unaccepted content type is the one case in which the framework itself closes.
      expect(isClosed).toBe(status === 415 && path.startsWith("/v1/") && headers["content-type"] !== ";;");
    },
  );

  test.each(refusals)("when nobody knows its length, closes the connection: %s", async (_what, method, path, headers, status) => {
    const connection = await open();
    connection.write(headOf(path, { ...headers, "transfer-encoding": "chunked" }, method));
    const answer = await connection.answer();
    expect([answer?.status, answer?.headers.connection]).toEqual([status, "close"]);
    await connection.ended;
    connection.write("2\r\nok\r\n0\r\n\r\n");
    connection.socket.end();
    await once(connection.socket, "close");
    expect(connection.error()).toBeUndefined();
  });
});

describe("a request behind a body that nobody reads", () => {
  test("is served within the same write when the body is small", async () => {
    const connection = await open();
    const head = headOf(`${service}/ListBooks`, { "content-type": "application/json", "content-length": 2 });
    connection.write(`${head}{}${head}{}${next}`);
    expect([(await connection.answer())?.status, (await connection.answer())?.status]).toEqual([401, 401]);
    expect((await connection.answer())?.status).toBe(200);
  });

  test("is not begun where the connection closes, so that a client may send it again", async () => {
    const connection = await open();
    const chunked = { "content-type": "application/json", "transfer-encoding": "chunked" };
    connection.write(headOf(`${service}/ListBooks`, chunked));
    const answer = await connection.answer();
    expect([answer?.status, answer?.headers.connection]).toEqual([401, "close"]);
    const reading = '{"text":"behind a closed door"}';
    const before = gateway.fixture.calls.length;
    connection.write("2\r\n{}\r\n0\r\n\r\n");
    connection.write(headOf("/v1/readings", { "content-type": "application/json", "content-length": reading.length }));
    connection.write(reading);
    connection.socket.end();
    await once(connection.socket, "close");
    const other = await open();
    other.write(next);
    await other.answer();
    expect(gateway.fixture.calls.length).toBe(before);
  });

  test("is served after a body that was too large, on another connection, and after one that was read, on the same", async () => {
    const body = Buffer.from('{"text":"read"}');
    const headers = { "content-type": "application/json" };
    const kept = await open();
    for (let round = 0; round < 3; round++) {
      kept.write(headOf("/v1/readings", { ...headers, "content-length": body.length }));
      kept.write(body);
      expect((await kept.answer())?.status).toBe(200);
    }
    kept.write(headOf("/v1/readings", { ...headers, "content-length": large.length }));
    expect((await kept.answer())?.status).toBe(413);
    await kept.ended;
  });

  test("meets no late 408 of the request before it", async () => {
    const connection = await open();
    connection.write(headOf("/nothing", { "content-length": 10 }, "POST"));
    expect((await connection.answer())?.status).toBe(404);
    // The rest never arrives: the connection is closed without another word.
    expect(await connection.answer()).toBeUndefined();
  });
});

describe("a client that waits for 100 Continue", () => {
  const expecting = { expect: "100-continue", "content-type": "application/json" };

  test.each(refusals)("is refused without it, and the connection is closed: %s", async (_what, method, path, headers, status) => {
    const connection = await open();
    connection.write(headOf(path, { ...expecting, ...headers, "content-length": small.length }, method));
    const answer = await connection.answer();
    expect([answer?.status, answer?.headers.connection]).toEqual([status, "close"]);
    await connection.ended;
  });

  test.each([
    ["Connect", `${service}/Read`],
    ["REST", "/v1/readings"],
  ])("is told to go on once it is admitted: %s", async (_what, path) => {
    const connection = await open();
    const body = '{"text":"read"}';
    connection.write(headOf(path, { ...expecting, "content-length": body.length }));
    expect((await connection.answer())?.status).toBe(100);
    connection.write(body);
    expect((await connection.answer())?.status).toBe(200);
    connection.write(next);
    expect((await connection.answer())?.status).toBe(200);
  });

  test("of another expectation is told that it is not met", async () => {
    const connection = await open();
    connection.write(headOf("/v1/readings", { expect: "200-ok", "content-length": 2 }));
    const answer = await connection.answer();
    expect([answer?.status, JSON.parse(answer?.body ?? "")]).toMatchObject([417, { success: false }]);
  });
});

describe("over HTTP/2", () => {
  test.each(rpcFormats.map((format) => [format.contentType, format] as const))(
    "a body that nobody reads ends its stream with NO_ERROR behind the whole answer, and harms no other: %s",
    async (contentType, format) => {
      const session = connectHttp2(gateway.fixture.url);
      try {
        for (let round = 0; round < 30; round++) {
          const path = `${service}/${format.kind === "stream" ? "WatchShelf" : "ListBooks"}`;
          const stream = session.request({ ":method": "POST", ":path": path, "content-type": contentType }, { endStream: false });
          let trailers: Record<string, unknown> = {};
          let headers: Record<string, unknown> = {};
          let body = "";
          stream.on("response", (given) => {
            headers = given;
          });
          stream.on("trailers", (given) => {
            trailers = given;
          });
          stream.on("data", (chunk) => {
            body += chunk;
          });
          // More than the windows of stream and connection hold.
          stream.write(large.subarray(0, 200_000), () => {});
          await once(stream, "close");
          expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
          const answer = { status: Number(headers[":status"]), headers: headers as never, trailers: trailers as never, body };
          expect(codeOf(format, answer)).toBe("unauthenticated");
        }
        const healthy = session.request({ ":path": "/health" });
        healthy.end();
        const [answered] = await once(healthy, "response");
        expect(answered[":status"]).toBe(200);
        healthy.resume();
        await once(healthy, "close");
      } finally {
        session.destroy();
      }
    },
  );

  test("a client that waits for 100 Continue is told once it is admitted, and not before", async () => {
    const session = connectHttp2(gateway.fixture.url);
    try {
      const ask = async (path: string, headers: Record<string, string>, body?: string) => {
        const stream = session.request(
          { ":method": "POST", ":path": path, expect: "100-continue", ...headers },
          { endStream: false },
        );
        const seen: string[] = [];
        stream.on("continue", () => {
          seen.push("continue");
          stream.end(body);
        });
        stream.on("response", ({ ":status": status }) => seen.push(String(status)));
        stream.resume();
        await once(stream, "close");
        return seen;
      };
      const type = { "content-type": "application/json" };
      expect(await ask("/v1/readings", type, '{"text":"read"}')).toEqual(["continue", "200"]);
      expect(await ask("/v1/chat/completions", type)).toEqual(["401"]);
      const authorized = { ...type, authorization: `Bearer ${aliceKey}x` };
      expect(await ask(`${service}/ListBooks`, authorized)).toEqual(["401"]);
    } finally {
      session.destroy();
    }
  });
});
