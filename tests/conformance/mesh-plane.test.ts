import { once } from "node:events";
import { connect, createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, type Message, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createLogger } from "@turnwright/platform/logger";
import { type GrpcServer, startGrpcServer } from "@turnwright/platform/rpc/grpc-server";
import { createGrpcTransport, type GrpcTransport } from "@turnwright/platform/rpc/grpc-transport";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StreamDefinition, UnaryDefinition } from "./messages.ts";
import { compileConformance } from "./schema.ts";
import { conformanceHandlers, fieldsOf } from "./service.ts";

const schema = compileConformance();
const impl = conformanceHandlers(schema, (message, { requestHeader }) => ({ message, headers: fieldsOf(requestHeader) }));
const mounts = [{ service: schema.service, impl }];
const unary = schema.method("Unary") as never;
const serverStream = schema.method("ServerStream") as never;
const detail = anyPack(schema.message("Header"), create(schema.message("Header"), { name: "detail" } as never));
const responseHeaders = [{ name: "x-custom-header", value: ["one", "two"] }];
const responseTrailers = [{ name: "x-custom-trailer", value: ["three", "four"] }];
const error = { code: Code.FailedPrecondition, message: "not so: ½ % 😀", details: [detail] };
/** Bytes, fewer than a response of the tests on size has. */
const smallLimit = 1_000;

let server: GrpcServer;
let narrow: GrpcServer;
const transports: Record<string, Transport> = { "in process": createInProcessTransport({ mounts }) };
const opened: GrpcTransport[] = [];

function dial(port: number, maxMessageBytes?: number): GrpcTransport {
  const transport = createGrpcTransport({ addresses: [`127.0.0.1:${port}`], maxMessageBytes });
  opened.push(transport);
  return transport;
}

beforeAll(async () => {
  const common = {
    mounts,
    interceptors: [],
    host: "127.0.0.1",
    port: 0,
    logger: createLogger({ service: "t", level: "silent" }),
  };
  server = await startGrpcServer(common);
  narrow = await startGrpcServer({ ...common, maxMessageBytes: smallLimit });
  transports["over gRPC"] = dial(server.port);
});
afterAll(async () => {
  for (const transport of opened) transport.close();
  await Promise.all([server.close(), narrow.close()]);
});

function unaryRequest(definition: Partial<UnaryDefinition>): Message {
  return create(schema.message("UnaryRequest"), {
    responseDefinition: { response: { case: undefined }, ...definition },
  } as never);
}

function streamRequest(definition: Partial<StreamDefinition>): Message {
  return create(schema.message("ServerStreamRequest"), { responseDefinition: definition } as never);
}

const call = (transport: Transport, message: Message) => transport.unary(unary, undefined, 5_000, undefined, message as never);

/** A stream's headers, the number of its messages, its trailers and its error. */
async function readAll(transport: Transport, message: Message) {
  const input = (async function* () {
    yield message as never;
  })();
  const seen = { header: new Headers(), messages: 0, trailer: new Headers(), error: undefined as ConnectError | undefined };
  try {
    const response = await transport.stream(serverStream, undefined, 5_000, undefined, input);
    try {
      for await (const _message of response.message) seen.messages += 1;
    } finally {
      seen.header = response.header;
      seen.trailer = response.trailer;
    }
  } catch (thrown) {
    seen.error = ConnectError.from(thrown);
  }
  return seen;
}

describe.each(["in process", "over gRPC"])("a call of the mesh %s", (plane) => {
  test("has the headers and trailers of its handler", async () => {
    const answer = await call(transports[plane] as Transport, unaryRequest({ responseHeaders, responseTrailers }));
    expect([answer.header.get("x-custom-header"), answer.trailer.get("x-custom-trailer")]).toEqual(["one, two", "three, four"]);
  });

  test("fails with the headers, trailers, code, words and details of its handler", async () => {
    const request = unaryRequest({ responseHeaders, responseTrailers, response: { case: "error", value: error } });
    const thrown = ConnectError.from(await call(transports[plane] as Transport, request).catch((cause: unknown) => cause));
    expect([thrown.code, thrown.rawMessage, thrown.details.length]).toEqual([error.code, error.message, 2]);
    const { metadata } = thrown;
    expect([metadata.get("x-custom-header"), metadata.get("x-custom-trailer")]).toEqual(["one, two", "three, four"]);
  });

  test("streams with the headers and trailers of its handler, with messages and without", async () => {
    for (const count of [0, 1, 5]) {
      const responseData = Array.from({ length: count }, () => Buffer.from("data"));
      const seen = await readAll(
        transports[plane] as Transport,
        streamRequest({ responseHeaders, responseTrailers, responseData }),
      );
      expect([seen.messages, seen.error]).toEqual([count, undefined]);
      expect([seen.header.get("x-custom-header"), seen.trailer.get("x-custom-trailer")]).toEqual(["one, two", "three, four"]);
    }
  });

  test("loses no message of a stream that fails behind it, nor what its handler had set", async () => {
    for (const count of [1, 2, 5]) {
      const responseData = Array.from({ length: count }, () => Buffer.from("data"));
      const request = streamRequest({ responseHeaders, responseTrailers, responseData, error });
      const seen = await readAll(transports[plane] as Transport, request);
      expect([seen.messages, seen.error?.code, seen.error?.rawMessage]).toEqual([count, error.code, error.message]);
      expect(seen.error?.details.length).toBe(1);
      expect([seen.header.get("x-custom-header"), seen.trailer.get("x-custom-trailer")]).toEqual(["one, two", "three, four"]);
    }
  });
});

/** Makes a raw gRPC call; resolves with all headers and trailers, and the length of the body. */
async function rawCall(port: number, method: string, message: Message) {
  const desc = schema.message(`${method}Request`);
  const bytes = Buffer.from(toBinary(desc, message as never));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  const session = connect(`http://127.0.0.1:${port}`);
  const stream = session.request({
    ":method": "POST",
    ":path": `/${schema.service.typeName}/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  let length = 0;
  stream.on("response", (fields) => {
    headers = fields;
  });
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
  });
  stream.end(Buffer.concat([prefix, bytes]));
  await once(stream, "close");
  session.close();
  return { headers, trailers, length };
}

describe("a response of the mesh on the wire", () => {
  test("has no status message when it succeeded", async () => {
    const { trailers } = await rawCall(server.port, "Unary", unaryRequest({}));
    expect([trailers["grpc-status"], trailers["grpc-message"]]).toEqual(["0", ""]);
    const streamed = await rawCall(server.port, "ServerStream", streamRequest({ responseData: [Buffer.from("x")] }));
    expect([streamed.trailers["grpc-status"], streamed.trailers["grpc-message"]]).toEqual(["0", ""]);
  });

  test("has its details without padding, of whatever length", async () => {
    for (const message of ["", "a", "ab", "abc"]) {
      const { headers } = await rawCall(
        server.port,
        "Unary",
        unaryRequest({ response: { case: "error", value: { ...error, message } } }),
      );
      expect(String(headers["grpc-status-details-bin"])).toMatch(/^[A-Za-z0-9+/]+$/);
    }
  });

  test("separates headers from trailers when it fails", async () => {
    const failing = { responseHeaders, responseTrailers };
    const one = await rawCall(server.port, "Unary", unaryRequest({ ...failing, response: { case: "error", value: error } }));
    const many = await rawCall(server.port, "ServerStream", streamRequest({ ...failing, error }));
    for (const { headers, trailers } of [one, many]) {
      expect([headers["x-custom-header"], trailers["x-custom-trailer"]]).toEqual(["one, two", "three, four"]);
      expect([headers["x-custom-trailer"], trailers["x-custom-header"]]).toEqual([undefined, undefined]);
    }
  });

  test("consists of trailers alone when it fails before its first message and without headers", async () => {
    const { headers } = await rawCall(server.port, "ServerStream", streamRequest({ error }));
    expect(headers["grpc-status"]).toBe(String(error.code));
  });

  test("and a request are bounded by what their receiver takes, not by what their sender does", async () => {
    const data = Buffer.alloc(smallLimit - 100);
    const request = unaryRequest({ response: { case: "responseData", value: data } });
    // The response repeats the request beside its data.
    const answer = await call(dial(narrow.port), request);
    expect(toBinary(schema.message("UnaryResponse"), answer.message as never).length).toBeGreaterThan(smallLimit);
    const large = create(schema.message("ServerStreamRequest"), { requestData: Buffer.alloc(smallLimit * 20) } as never);
    expect((await readAll(dial(server.port, smallLimit), large)).error).toBeUndefined();
    expect((await readAll(dial(narrow.port), large)).error?.code).toBe(Code.ResourceExhausted);
  });
});

describe("a client of the mesh", () => {
  /** A server that answers every call with these headers, bytes and trailers. */
  async function answering(headers: IncomingHttpHeaders, body: Buffer, trailers: IncomingHttpHeaders) {
    const broken = createServer();
    broken.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...headers }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end(body);
    });
    broken.listen(0, "127.0.0.1");
    await once(broken, "listening");
    const { port } = broken.address() as AddressInfo;
    return { transport: dial(port), close: () => broken.close() };
  }
  const packed = Buffer.from([1, 0, 0, 0, 2, 0x0a, 0x00]);

  test("reports a message that it cannot unpack as an internal error with words", async () => {
    for (const headers of [{}, { "grpc-encoding": "nonesuch" }]) {
      const { transport, close } = await answering(headers, packed, { "grpc-status": "0" });
      const thrown = (await call(transport, unaryRequest({})).catch((cause: unknown) => cause)) as ConnectError;
      expect([thrown.code, thrown.rawMessage]).toEqual([Code.Internal, "The server's message cannot be read."]);
      close();
    }
  });

  test("reports the headers of a call that failed in its trailers", async () => {
    const { transport, close } = await answering({ "x-custom-header": "one" }, Buffer.alloc(0), { "grpc-status": "9" });
    const thrown = (await call(transport, unaryRequest({})).catch((cause: unknown) => cause)) as ConnectError;
    expect([thrown.code, thrown.metadata.get("x-custom-header")]).toEqual([Code.FailedPrecondition, "one"]);
    close();
  });
});
