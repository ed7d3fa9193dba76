import { gzipSync } from "node:zlib";

/** A million unknown fields in 2 KB. */
const bomb = gzipSync(Buffer.alloc(2_000_000).fill(Buffer.from([0x7a, 0x00])), { level: 9 });

function envelope(message: Uint8Array, flags: number): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

export interface Attack {
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly isHttp2?: boolean;
  /** Sent in chunks of one byte. */
  readonly isChunked?: boolean;
}

export const protectedUnary = "/turnwright.agent.v1.AgentService/SendMessage";
export const publicUnary = "/turnwright.auth.v1.AuthService/Login";

/** The bomb to one method, on every protocol. */
export function bombs(path: string): Attack[] {
  const enveloped = envelope(bomb, 1);
  const http1: readonly (readonly [string, Record<string, string>, Buffer])[] = [
    ["Connect, protobuf", { "content-type": "application/proto", "content-encoding": "gzip" }, bomb],
    ["Connect, JSON", { "content-type": "application/json", "content-encoding": "gzip" }, bomb],
    ["gRPC-web", { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" }, enveloped],
    ["gRPC-web, JSON", { "content-type": "application/grpc-web+json", "grpc-encoding": "gzip" }, enveloped],
    ["gRPC over HTTP/1.1", { "content-type": "application/grpc", "grpc-encoding": "gzip" }, enveloped],
  ];
  return [
    ...http1.map(([name, headers, body]) => ({ name, path, headers, body })),
    {
      name: "gRPC",
      path,
      headers: { "content-type": "application/grpc", "grpc-encoding": "gzip", te: "trailers" },
      body: enveloped,
      isHttp2: true,
    },
  ];
}

export const json = { "content-type": "application/json" };
const large = Buffer.alloc(3_000_000, 0x20);
const keys = Buffer.from(`{${Array.from({ length: 60_000 }, (_, index) => `"k${index}":1`).join(",")}}`);

/** A request whose cost is that of its connection, for comparison. */
export const plain: Attack = { name: "for comparison: an unserved path", path: "/nothing", headers: {}, body: Buffer.alloc(0) };

/** Requests without a credential. */
export const attacks: readonly Attack[] = [
  ...bombs(protectedUnary).map((attack) => ({ ...attack, name: `${attack.name}: 2 KB that unpack to a million fields` })),
  ...bombs(publicUnary).map((attack) => ({ ...attack, name: `${attack.name}: the same to a login` })),
  {
    name: "Connect stream: the same",
    path: "/turnwright.agent.v1.AgentService/StreamTurn",
    headers: { "content-type": "application/connect+proto", "connect-content-encoding": "gzip" },
    body: envelope(bomb, 1),
  },
  { name: "Connect, JSON: 60,000 keys", path: protectedUnary, headers: json, body: keys },
  { name: "REST: 60,000 keys", path: "/v1/conversations", headers: json, body: keys },
  { name: "REST: 60,000 keys to a login", path: "/v1/auth/login", headers: json, body: keys },
  { name: "OpenAI: 60,000 keys", path: "/v1/chat/completions", headers: json, body: keys },
  { name: "Connect: 3 MB", path: protectedUnary, headers: { "content-type": "application/proto" }, body: large },
  { name: "gRPC-web: 3 MB", path: protectedUnary, headers: { "content-type": "application/grpc-web+proto" }, body: large },
  { name: "gRPC: 3 MB", path: protectedUnary, headers: { "content-type": "application/grpc" }, body: large, isHttp2: true },
  { name: "REST: 3 MB", path: "/v1/conversations", headers: json, body: large },
  { name: "OpenAI: 3 MB", path: "/v1/chat/completions", headers: json, body: large },
  { name: "an unserved path: 3 MB", path: "/nothing", headers: json, body: large },
  {
    name: "Connect: 16 KB byte by byte",
    path: protectedUnary,
    headers: { "content-type": "application/proto" },
    body: Buffer.alloc(16_384),
    isChunked: true,
  },
  {
    name: "Connect, a login: 16 KB byte by byte",
    path: publicUnary,
    headers: { "content-type": "application/proto" },
    body: Buffer.alloc(16_384),
    isChunked: true,
  },
  {
    name: "REST, a login: 16 KB byte by byte",
    path: "/v1/auth/login",
    headers: json,
    body: Buffer.alloc(16_384),
    isChunked: true,
  },
];

/** The HTTP/1.1 request of an attack, optionally with a credential. */
export function bytesOf({ path, headers, body, isChunked }: Attack, token?: string): Buffer {
  const all: Record<string, string | number> = { host: "gateway.test", ...headers };
  if (token !== undefined) all.authorization = `Bearer ${token}`;
  if (isChunked) all["transfer-encoding"] = "chunked";
  else all["content-length"] = body.length;
  const head = `POST ${path} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}\r\n`;
  const chunks = isChunked
    ? Buffer.from([...body].map((byte) => `1\r\n${String.fromCharCode(byte)}\r\n`).join(""), "latin1")
    : body;
  return Buffer.concat([Buffer.from(head), chunks]);
}
