import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { aliceKey } from "../../gateway/testing/gateway.ts";
import type { MeasuredGateway } from "./measured-gateway.ts";
import { endHeaders, frame, frameType, literal, RawHttp2, type RawRequest, settings } from "./raw-http2.ts";

/** The connections that an attack holds open. */
export interface Standing {
  /** Connections that the gateway has not closed. */
  readonly open: number;
  end(): void;
}

/** An attack that makes a gateway hold data that no client reads. */
export interface Attack {
  readonly name: string;
  /** Connections at full count. */
  readonly connections: number;
  perform(gateway: MeasuredGateway, connections: number): Promise<Standing>;
}

const bearer = { authorization: `Bearer ${aliceKey}` };
const json = { "content-type": "application/json" };
const host = "127.0.0.1";

/** A message in the framing of gRPC and of Connect streams. */
function enveloped(message: string): Buffer {
  const bytes = Buffer.from(message);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function standing(sockets: readonly Socket[]): Standing {
  return {
    get open() {
      return sockets.filter((socket) => !socket.destroyed).length;
    },
    end() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function dial(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let i = 0; i < count; i += 1) {
    const socket = connect({ port, host }).on("error", () => {});
    sockets.push(socket);
    // A listen queue takes some hundred connections.
    if (i % 100 === 99) await once(socket, "connect").catch(() => {});
  }
  return sockets;
}

const streamsPerConnection = 1_000;

/** Many streams whose flow-control windows allow no byte of their responses. */
function closedWindows(name: string, requestOf: (gateway: MeasuredGateway) => RawRequest, connections = 1): Attack {
  return {
    name: `HTTP/2, ${streamsPerConnection} streams with window 0: ${name}`,
    connections,
    async perform(gateway, count) {
      const request = requestOf(gateway);
      const clients = await Promise.all(Array.from({ length: count }, () => RawHttp2.open(gateway.port, 0)));
      await Promise.all(
        clients.map((client) => {
          client.socket.write(Buffer.concat(Array.from({ length: streamsPerConnection }, () => client.request(request))));
          return client.settled();
        }),
      );
      return standing(clients.map(({ socket }) => socket));
    },
  };
}

/** An endless series of frames on each connection. */
function flood(name: string, framesOf: (client: RawHttp2) => Iterable<Buffer>): Attack {
  return {
    name: `HTTP/2, ${name}`,
    connections: 4,
    async perform(gateway, count) {
      const clients = await Promise.all(Array.from({ length: count }, () => RawHttp2.open(gateway.port, 65_535)));
      await Promise.all(
        clients.map(async (client) => {
          for (const bytes of framesOf(client)) {
            if (client.socket.destroyed) return;
            if (!client.socket.write(bytes)) await client.taken();
          }
          await client.settled();
        }),
      );
      return standing(clients.map(({ socket }) => socket));
    },
  };
}

function* times(count: number, bytes: () => Buffer): Generator<Buffer> {
  for (let left = count; left > 0; left -= 1_000) {
    yield Buffer.concat(Array.from({ length: Math.min(1_000, left) }, bytes));
  }
}

/** One 64 KiB write of requests on each connection, whose responses are never read. */
function pipelined(name: string, request: string): Attack {
  return {
    name: `HTTP/1.1, 64 KiB of pipelined ${name}`,
    connections: 50,
    async perform(gateway, count) {
      const sockets = await dial(gateway.port, count);
      for (const socket of sockets) socket.write(request.repeat(Math.floor(65_536 / request.length)));
      return standing(sockets);
    },
  };
}

/** Connections that send the text and nothing more. */
function silent(name: string, connections: number, said: string): Attack {
  return {
    name: `${connections} connections that ${name}`,
    connections,
    async perform(gateway, count) {
      const sockets = await dial(gateway.port, count);
      for (const socket of sockets) {
        if (said !== "") socket.write(said);
        socket.resume();
      }
      return standing(sockets);
    },
  };
}

const reading = { method: "POST", headers: json, body: Buffer.from('{"text":"65536"}') };
const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;
const post =
  "POST /v1/readings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n" + '{"text":"65536"}';

/** The attacks whose cost is measured. */
export const attacks: readonly Attack[] = [
  closedWindows("openapi.json", () => ({ path: "/openapi.json" }), 10),
  closedWindows("Swagger's script", () => ({ path: "/swagger/swagger-ui-bundle.js" }), 10),
  closedWindows("answers of 64 KiB", () => ({ path: "/v1/readings", ...reading })),
  closedWindows("server-sent events", () => ({ path: "/v1/shelves/a/watch", headers: bearer })),
  closedWindows("errors", () => ({ path: "/nothing" })),
  closedWindows("HEAD", () => ({ method: "HEAD", path: "/openapi.json" })),
  closedWindows("preflights of browsers", () => ({
    method: "OPTIONS",
    path: "/v1/chat/completions",
    headers: { origin: "https://app.example", "access-control-request-method": "POST" },
  })),
  closedWindows("completions without a key", () => ({
    method: "POST",
    path: "/v1/chat/completions",
    headers: json,
    body: Buffer.from("{}"),
  })),
  closedWindows("Connect", ({ service }) => ({ path: `/${service}/Read`, ...reading })),
  closedWindows("streams of Connect", ({ service }) => ({
    method: "POST",
    path: `/${service}/WatchShelf`,
    headers: { ...bearer, "content-type": "application/connect+json" },
    body: enveloped('{"shelfId":"a"}'),
  })),
  closedWindows("streams of gRPC-web", ({ service }) => ({
    method: "POST",
    path: `/${service}/WatchShelf`,
    headers: { ...bearer, "content-type": "application/grpc-web+json" },
    body: enveloped('{"shelfId":"a"}'),
  })),
  closedWindows("gRPC", ({ service }) => ({
    method: "POST",
    path: `/${service}/Read`,
    headers: { "content-type": "application/grpc+json", te: "trailers" },
    body: enveloped('{"text":"65536"}'),
  })),
  pipelined("GET /health", get("/health")),
  pipelined("GET /openapi.json", get("/openapi.json")),
  pipelined("errors", get("/nothing")),
  pipelined("POST with bodies", post),
  silent("say nothing", 10_000, ""),
  silent("stay open behind an answer", 10_000, get("/health")),
  silent("never end their headers", 2_000, `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(8_000)}`),
  silent("close their side behind a request", 500, get("/openapi.json")),
];

const zeros = new Uint8Array(8);
const window = Buffer.from([0, 0, 0, 1]);

/** Floods of frames, measured by their cost and by whether other clients are served meanwhile. */
export const floods: readonly Attack[] = [
  flood("50,000 PINGs", () => times(50_000, () => frame(frameType.ping, 0, 0, zeros))),
  flood("20,000 SETTINGS", () => times(20_000, () => settings([4, 65_535]))),
  flood("50,000 PRIORITY frames", () => times(50_000, () => frame(frameType.priority, 0, 1, new Uint8Array(5)))),
  flood("50,000 WINDOW_UPDATEs of one byte", () => times(50_000, () => frame(frameType.windowUpdate, 0, 0, window))),
  flood("20,000 streams that are reset at once (CVE-2023-44487)", (client) =>
    times(20_000, () =>
      Buffer.concat([
        client.request({ path: "/openapi.json" }),
        frame(frameType.rstStream, 0, client.lastStream, Buffer.from([0, 0, 0, 8])),
      ]),
    ),
  ),
  flood("50,000 empty DATA frames", function* (client) {
    const whole = client.request({ method: "POST", path: "/v1/readings", headers: json, body: new Uint8Array() });
    yield whole.subarray(0, whole.length - 9);
    yield* times(50_000, () => frame(frameType.data, 0, client.lastStream));
  }),
  flood("headers in 10,000 CONTINUATION frames", function* (client) {
    const head = client.request({ path: "/health" });
    // Without the flag END_HEADERS.
    head.writeUInt8(1, 4);
    yield head;
    yield* times(10_000, () => frame(frameType.continuation, 0, client.lastStream, literal("x", "y".repeat(100))));
  }),
  // 4 KB stored in HPACK's table, then one byte per reference to them.
  flood("200 streams whose headers unpack to 16 MB", (client) =>
    times(200, () => {
      const kept = Buffer.concat([
        Buffer.from([0x40, 1]),
        Buffer.from("x"),
        Buffer.from([127, 129, 30]),
        Buffer.alloc(3_968, "y"),
      ]);
      const head = client.request({ path: "/health" }).subarray(9);
      const block = Buffer.concat([head, kept, Buffer.alloc(4_000, 0x80 + 62)]);
      return frame(frameType.headers, endHeaders | 1, client.lastStream, block);
    }),
  ),
  flood("1,000 streams with 16 KiB of trailers", (client) =>
    times(1_000, () => {
      const whole = client.request({ method: "POST", path: "/v1/readings", headers: json, body: Buffer.from("{}") });
      // The body's frame does not end the stream; the trailers do.
      whole.writeUInt8(0, whole.length - 2 - 5);
      const trailers = Buffer.concat(Array.from({ length: 15 }, (_, i) => literal(`x-${i}`, "y".repeat(1_000))));
      return Buffer.concat([whole, frame(frameType.headers, endHeaders | 1, client.lastStream, trailers)]);
    }),
  ),
];
