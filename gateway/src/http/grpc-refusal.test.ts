import { once } from "node:events";
import { connect, constants, type IncomingHttpHeaders } from "node:http2";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { useLibraryGateway } from "../../testing/library-gateway.ts";
import { headOf } from "../../testing/rpc-requests.ts";

const gateway = useLibraryGateway({ RATE_LIMIT_AUTH_PER_MINUTE: "1000" });
const frame = Buffer.from([0, 0, 0, 0, 0]);
const unimplemented = "12";
/** Paths on which no RPC is served: of no service, of a service without the method, and of routes for other clients. */
const paths = [
  "/no.Such/Method",
  "/fixture.v1.LibraryService/Nope",
  "/v1/readings",
  "/health",
  "/v1/chat/completions",
  "/%",
  "/",
];

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A gRPC request over HTTP/2; resolves with its headers, the flags of their frame, and the length of the body. */
async function request(path: string, contentType: string, ends = true) {
  const session = connect(gateway.fixture.url);
  closers.push(() => session.destroy());
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": contentType, te: "trailers" });
  stream.on("error", () => {});
  let seen: { headers: IncomingHttpHeaders; flags: number } | undefined;
  let length = 0;
  stream.on("response", (headers, flags) => {
    seen = { headers, flags };
  });
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
  });
  stream.write(frame);
  if (ends) stream.end();
  await once(stream, "close");
  return { ...seen, length };
}

test.each(paths)("a gRPC request for %s gets trailers alone", async (path) => {
  for (const type of ["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc-web+proto"]) {
    const { headers, flags = 0, length } = await request(path, type);
    expect([headers?.[":status"], headers?.["content-type"], headers?.["grpc-status"]]).toEqual([200, type, unimplemented]);
    expect([flags & constants.NGHTTP2_FLAG_END_STREAM, length]).toEqual([constants.NGHTTP2_FLAG_END_STREAM, 0]);
  }
});

test("a stream of requests for an unknown method is refused before it ends", async () => {
  const { headers } = await request("/no.Such/Method", "application/grpc", false);
  expect(headers?.["grpc-status"]).toBe(unimplemented);
});

test("a gRPC client sees UNIMPLEMENTED and the path, on the connection that serves other calls", async () => {
  const client = new Client(`127.0.0.1:${gateway.fixture.port}`, credentials.createInsecure());
  closers.push(() => client.close());
  const call = (path: string) =>
    new Promise<ServiceError | null>((resolve) => {
      client.makeUnaryRequest(
        path,
        () => Buffer.alloc(0),
        (bytes: Buffer) => bytes,
        undefined,
        (error) => resolve(error),
      );
    });
  for (const path of paths.slice(0, 2)) {
    const error = await call(path);
    expect([error?.code, error?.details]).toEqual([12, `No RPC is served at ${path}.`]);
    expect((await call("/fixture.v1.LibraryService/ListBooks"))?.code).toBe(16);
  }
});

test("a gRPC-Web request over HTTP/1.1 gets the same, and leaves its connection to the next", async () => {
  const connection = await gateway.open();
  for (const path of paths) {
    connection.write(headOf(path, { "content-type": "application/grpc-web+proto", "content-length": frame.length }));
    connection.write(frame);
    const answer = await connection.answer();
    expect([answer?.status, answer?.headers["grpc-status"], answer?.body]).toEqual([200, unimplemented, ""]);
    if (answer?.headers.connection === "close") break;
    connection.write(headOf("/health", {}, "GET"));
    expect((await connection.answer())?.status).toBe(200);
  }
});

test("other clients get what they got, whatever they accept", async () => {
  for (const [headers, status] of [
    [{ "content-type": "application/proto" }, 404],
    [{ "content-type": "application/json", accept: "application/grpc" }, 404],
    [{ "content-type": "application/grpcish" }, 404],
  ] as const) {
    const answer = await gateway.fixture.fetch("/no.Such/Method", { method: "POST", headers, body: "{}" });
    expect([answer.status, answer.headers.get("grpc-status")]).toEqual([status, null]);
    expect(await answer.json()).toMatchObject({ error: { code: "NOT_FOUND" } });
  }
});
