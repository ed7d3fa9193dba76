import { once } from "node:events";
import { METHODS } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { describe, expect, test } from "vitest";
import { aliceKey } from "../../testing/gateway.ts";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import { dial, type RawAnswer } from "../../testing/raw-connection.ts";
import { headOf } from "../../testing/rpc-requests.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_ENABLED: "false" });

async function ask(bytes: string): Promise<RawAnswer | undefined> {
  const connection = await dial(gateway.fixture.port);
  try {
    connection.write(bytes);
    return await connection.answer(bytes.startsWith("HEAD ") ? "HEAD" : undefined);
  } finally {
    connection.socket.destroy();
  }
}

/** Expects a status that blames the client and, if the body is JSON, the common error body. */
function expectRefusal(answer: RawAnswer | undefined): void {
  expect(answer?.status).toBeGreaterThanOrEqual(400);
  expect(answer?.status).toBeLessThan(500);
  if (answer?.body !== "" && answer?.headers["content-type"]?.startsWith("application/json")) {
    expect(JSON.parse(answer.body)).toMatchObject({
      success: false,
      error: { message: expect.any(String), code: expect.any(String) },
    });
  }
}

const connectPath = "/fixture.v1.LibraryService/ListBooks";
const paths = [
  "/v1/auth/me",
  "/v1/readings",
  "/v1/rules",
  connectPath,
  "/nothing",
  "/health",
  "/openapi.json",
  "/swagger/index.html",
  "/swagger/x",
  "/v1/chat/completions",
];

describe("a verb", () => {
  test("that nobody knows gets 405 over HTTP/1.1 as well, with the verbs that are served; bytes that are none get 400", async () => {
    const cases = [
      ["INVENTED /health HTTP/1.1\r\nhost: x\r\n\r\n", 405],
      ["get /health HTTP/1.1\r\nhost: x\r\n\r\n", 405],
      ["X /nothing HTTP/1.1\r\nhost: x\r\n\r\n", 405],
      ["\x16\x03\x01\x02\x00\x01", 400],
      ["{} /health HTTP/1.1\r\n\r\n", 400],
      [`${"A".repeat(4_000)} / HTTP/1.1\r\n\r\n`, 400],
    ] as const;
    for (const [bytes, status] of cases) {
      const answer = await ask(bytes);
      expect([answer?.status, answer?.headers.allow !== undefined], bytes.slice(0, 20)).toEqual([status, status === 405]);
    }
  });

  test("that an RPC does not serve gets 405 with those it serves, over both protocols", async () => {
    for (const method of ["PUT", "TRACE", "QUERY", "PROPFIND"]) {
      const answer = await ask(headOf(connectPath, { connection: "close" }, method));
      expect([method, answer?.status, answer?.headers.allow]).toEqual([method, 405, "POST"]);
    }
  });

  test.each([...METHODS, "INVENTED"])(
    "%s is answered on every path, with a body and without, and never blames the server",
    async (method) => {
      for (const path of paths) {
        for (const headers of [{}, { "content-length": 2 }, { "content-length": 2, "content-type": "application/json" }]) {
          for (const authorization of [undefined, `Bearer ${aliceKey}`]) {
            const body = "content-length" in headers && method !== "HEAD" ? "{}" : "";
            const answer = await ask(`${headOf(path, { ...headers, authorization, connection: "close" }, method)}${body}`);
            // The fixture serves no completions.
            const isUnserved = path === "/v1/chat/completions" && method === "POST" && authorization !== undefined;
            if (isUnserved && answer?.status === 501) continue;
            expect(answer, `${method} ${path}`).toBeDefined();
            expect(answer?.status, `${method} ${path} ${answer?.body}`).toBeLessThan(500);
          }
        }
      }
    },
  );

  test.each(["QUERY", "PROPFIND", "TRACE", "MKCOL"])("%s is not served, and the answer names what is", async (method) => {
    const answer = await ask(headOf("/v1/readings", {}, method));
    expect([answer?.status, answer?.headers.allow]).toEqual([405, "POST"]);
    expectRefusal(answer);
    expect((await ask(headOf("/nothing", {}, method)))?.status).toBe(404);
  });

  test("CONNECT is refused with an error body", async () => {
    const answer = await ask("CONNECT db.internal:5432 HTTP/1.1\r\nhost: db.internal\r\n\r\n");
    expect(answer?.status).toBe(405);
    expectRefusal(answer);
  });

  test.each(["QUERY", "CONNECT", "PROPFIND", "INVENTED", "get"])("%s is answered over HTTP/2 too", async (method) => {
    const session = connectHttp2(gateway.fixture.url);
    try {
      const target = method === "CONNECT" ? { ":authority": "db.internal:5432" } : { ":path": "/v1/rules" };
      const stream = session.request({ ":method": method, ...target });
      stream.end();
      const [headers] = await once(stream, "response");
      stream.resume();
      expect(headers[":status"]).toBeGreaterThanOrEqual(400);
      expect(headers[":status"]).toBeLessThan(500);
    } finally {
      session.destroy();
    }
  });
});

describe("a path", () => {
  test.each([
    ...[
      "/swagger/../x",
      "/swagger/..%2fx",
      "/swagger/%2e%2e/x",
      "/swagger/%2e%2e%2f%2e%2e%2fetc/passwd",
      "/swagger/..%5cx",
      "/swagger/%5c..%5cx",
    ],
    ...[
      "/swagger/%00",
      "/swagger/swagger-ui.css%00",
      "/swagger/swagger-ui.css/..",
      "/swagger/./..",
      "/swagger//x",
      "/swagger/.hidden",
    ],
    ...[
      "/swagger/package.json",
      "/swagger/%",
      "/../etc/passwd",
      "//",
      "//x",
      "/%",
      "/%ff",
      "*",
      "/;",
      "/v1/rules/../../x",
      "/%2e%2e",
    ],
  ])("%s is not found, whatever the verb", async (path) => {
    for (const method of ["GET", "HEAD", "POST", "QUERY", "PUT"]) expectRefusal(await ask(headOf(path, {}, method)));
  });
});

describe("a malformed request", () => {
  test.each([
    ["no Host", "GET /health HTTP/1.1\r\n\r\n", 400],
    ["an unsupported expectation", "POST /v1/readings HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 2\r\n\r\n{}", 417],
    ["two lengths", "POST /v1/readings HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400],
    [
      "a length and chunks",
      "POST /v1/readings HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
      400,
    ],
    ["a length below 0", "POST /v1/readings HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400],
    [
      "chunks that are none",
      "POST /v1/readings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      400,
    ],
    ["a transfer encoding without an end", "POST /v1/readings HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\nxx", 400],
    ["an unknown version", "GET /health HTTP/3.0\r\nhost: a\r\n\r\n", 400],
    ["no request at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
  ])("is answered in the common error body: %s", async (_what, bytes, status) => {
    const connection = await dial(gateway.fixture.port);
    try {
      // More than is read before the answer: an immediate close would reset the connection.
      connection.write(Buffer.concat([Buffer.from(bytes, "latin1"), Buffer.alloc(100_000, 0x61)]));
      const answer = await connection.answer();
      expect(answer?.status).toBe(status);
      expectRefusal(answer);
      await connection.ended;
      expect(connection.error()).toBeUndefined();
    } finally {
      connection.socket.destroy();
    }
  });

  test("of HTTP/1.0 needs no Host, on any protocol", async () => {
    for (const path of ["/health", "/v1/rules", "/fixture.v1.LibraryService/GetRules?encoding=json&message=%7B%7D"]) {
      const answer = await ask(`GET ${path} HTTP/1.0\r\n\r\n`);
      expect(answer?.status, path).toBe(200);
    }
  });

  test("with an invalid Host is served by its path", async () => {
    const headers = {
      host: "a b:c:d",
      "content-type": "application/json",
      "content-length": 2,
      authorization: `Bearer ${aliceKey}`,
    };
    expect((await ask(`${headOf(connectPath, headers)}{}`))?.status).toBe(400);
    expect((await ask(headOf("/health", headers, "GET")))?.status).toBe(200);
  });
});
