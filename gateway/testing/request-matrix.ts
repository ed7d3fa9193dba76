import { create } from "@bufbuild/protobuf";
import { type Identity, IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { alice, aliceKey, type FakeTokens, fakeTokens } from "./gateway.ts";
import { envelope, headOf } from "./rpc-requests.ts";

/** A request of the matrix, as sent; its response repeats the id. */
export interface SentRequest {
  readonly id: string;
  readonly what: string;
  readonly status: number;
  /** The response's `grpc-status`, in its headers or its body; undefined for other protocols. */
  readonly grpcStatus?: number;
  /** Text in the response of a request that is served. */
  readonly text?: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A way to have a request refused before its body is read, or to have it served. */
export interface MatrixRow {
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly grpcStatus?: number;
}

const service = "/fixture.v1.LibraryService";
const books = "/v1/shelves/a/books/1";
const json = { "content-type": "application/json" };
const authorized = { authorization: `Bearer ${aliceKey}` };
const key = (name: string) => `sk-${name}-0123456789abcdefghij`;
const spent = { authorization: `Bearer ${key("spent")}` };
const denied = { authorization: `Bearer ${key("denied")}` };
const unknowable = { authorization: `Bearer ${key("unknowable")}` };
const forged = { authorization: "Bearer sk-not-a-key-but-as-long-as-one-is" };
/** More than the largest body that any surface takes. */
const announced = { "content-length": "30000000" };

function row(what: string, method: string, path: string, headers: Record<string, string>, status: number, grpcStatus?: number) {
  return { what, method, path, headers, status, grpcStatus };
}

/**
 * An auth service for the rows: Alice is not limited, one key has no request left after its first, one is forbidden,
 * and of one it cannot tell.
 */
export function matrixTokens(): FakeTokens {
  const tokens = fakeTokens();
  const withLimit = (rateLimitPerDay: number, userId: string): Identity =>
    create(IdentitySchema, { ...alice, userId, tokenId: userId, rateLimitPerMinute: 0, rateLimitPerDay });
  tokens.known.set(aliceKey, withLimit(0, "0190a000-0000-7000-8000-0000000000a1"));
  tokens.known.set(key("spent"), withLimit(1, "0190a000-0000-7000-8000-0000000000a2"));
  const { get } = tokens.known;
  tokens.known.get = (token) => {
    if (token === key("denied")) throw fail(ErrorReason.PERMISSION_DENIED, "Not with this key.");
    if (token === key("unknowable")) throw fail(ErrorReason.UNAVAILABLE, "Auth does not answer.");
    return get.call(tokens.known, token);
  };
  return tokens;
}

/** Spends the one request of the key that has a limit. */
export const spending = { path: "/v1/shelves/a/books", headers: spent } as const;

/** Refusals of every status and protocol that HTTP/1.1 and HTTP/2 share. */
export const refusedRows: readonly MatrixRow[] = [
  row("REST 401", "PUT", books, json, 401),
  row("REST 401, forged", "PUT", books, { ...json, ...forged }, 401),
  row("REST 404", "POST", "/v1/nothing", json, 404),
  row("REST 405", "DELETE", "/v1/readings", json, 405),
  row("REST 415", "POST", "/v1/readings", { ...authorized, "content-type": "text/csv" }, 415),
  row("REST 415, encoding", "POST", "/v1/readings", { ...json, ...authorized, "content-encoding": "gzip" }, 415),
  row("REST 400", "POST", "/%", json, 400),
  row("REST 403", "PUT", books, { ...json, ...denied }, 403),
  row("REST 429", "PUT", books, { ...json, ...spent }, 429),
  row("REST 503", "PUT", books, { ...json, ...unknowable }, 503),
  row("OpenAI 401", "POST", "/v1/chat/completions", json, 401),
  row("OpenAI 403", "POST", "/v1/chat/completions", { ...json, ...denied }, 403),
  row("OpenAI 429", "POST", "/v1/chat/completions", { ...json, ...spent }, 429),
  row("OpenAI 503", "POST", "/v1/chat/completions", { ...json, ...unknowable }, 503),
  row("OpenAI 405", "PUT", "/v1/chat/completions", json, 405),
  row("Connect 401", "POST", `${service}/ListBooks`, json, 401),
  row("Connect 403", "POST", `${service}/ListBooks`, { ...json, ...denied }, 403),
  row("Connect 429", "POST", `${service}/ListBooks`, { ...json, ...spent }, 429),
  row("Connect 503", "POST", `${service}/ListBooks`, { ...json, ...unknowable }, 503),
  row("Connect 405", "PUT", `${service}/ListBooks`, json, 405),
  row("Connect 415", "POST", `${service}/ListBooks`, { ...authorized, "content-type": "text/csv" }, 415),
  row("Connect 404", "POST", `${service}/Nope`, { ...json, ...authorized }, 404),
  row("Connect stream 401", "POST", `${service}/WatchShelf`, { "content-type": "application/connect+json" }, 200),
  row("gRPC-Web 401", "POST", `${service}/ListBooks`, { "content-type": "application/grpc-web+proto" }, 200, 16),
  row("gRPC-Web 429", "POST", `${service}/ListBooks`, { ...spent, "content-type": "application/grpc-web" }, 200, 8),
  row("gRPC-Web 503", "POST", `${service}/ListBooks`, { ...unknowable, "content-type": "application/grpc-web" }, 200, 14),
  row("gRPC-Web 404", "POST", `${service}/Nope`, { "content-type": "application/grpc-web+proto" }, 200, 12),
  row("a document with a body", "GET", "/openapi.json", {}, 200),
];

/** Refusals of gRPC, which needs HTTP/2. */
export const grpcRows: readonly MatrixRow[] = [
  row("gRPC 401", "POST", `${service}/ListBooks`, { "content-type": "application/grpc" }, 200, 16),
  row("gRPC 403", "POST", `${service}/ListBooks`, { ...denied, "content-type": "application/grpc" }, 200, 7),
  row("gRPC 429", "POST", `${service}/ListBooks`, { ...spent, "content-type": "application/grpc" }, 200, 8),
  row("gRPC stream 401", "POST", `${service}/WatchShelf`, { "content-type": "application/grpc+proto" }, 200, 16),
  row("gRPC 404", "POST", `${service}/Nope`, { "content-type": "application/grpc" }, 200, 12),
];

/** Refusals for the announced size, after which no body follows. */
export const announcedRows: readonly MatrixRow[] = [
  row("REST 413", "POST", "/v1/readings", { ...json, ...authorized, ...announced }, 413),
  row("OpenAI 413", "POST", "/v1/chat/completions", { ...json, ...authorized, ...announced }, 413),
  row("Connect 413", "POST", `${service}/ListBooks`, { ...json, ...authorized, ...announced }, 429),
];

let made = 0;

/** A request of a row with a body of this size; only one with a body has a type or an encoding to refuse. */
export function refusedRequest(matrixRow: MatrixRow, bodyBytes: number): SentRequest {
  made += 1;
  const bytes = matrixRow.status === 415 ? Math.max(1, bodyBytes) : bodyBytes;
  return { ...matrixRow, id: `refused-${made}`, body: Buffer.alloc(bytes, 0x61) };
}

/** A request that is served and answered with a text of its own, over REST, Connect or gRPC-Web. */
export function servedRequest(surface: "REST" | "Connect" | "gRPC-Web"): SentRequest {
  made += 1;
  const text = `word-${made}-`;
  const common = { id: `served-${made}`, what: `${surface} 200`, status: 200, text, method: "POST" };
  const message = Buffer.from(JSON.stringify({ text }));
  if (surface === "REST") return { ...common, path: "/v1/readings", headers: { ...json, ...authorized }, body: message };
  if (surface === "Connect") return { ...common, path: `${service}/Read`, headers: { ...json, ...authorized }, body: message };
  const headers = { ...authorized, "content-type": "application/grpc-web+json" };
  return { ...common, path: `${service}/Read`, headers, body: envelope(message), grpcStatus: 0 };
}

/** A request as bytes of HTTP/1.1. */
export function bytesOf(request: SentRequest, form: "length" | "chunks"): Buffer {
  const { id, method, path, headers, body } = request;
  const isAnnounced = "content-length" in headers;
  const framing =
    form === "chunks" && !isAnnounced ? { "transfer-encoding": "chunked" } : { "content-length": body.length, ...headers };
  const head = Buffer.from(headOf(path, { ...headers, ...framing, "x-request-id": id }, method));
  if (!("transfer-encoding" in framing)) return Buffer.concat([head, body]);
  const half = body.length >> 1;
  const pieces = [body.subarray(0, half), body.subarray(half)].filter(({ length }) => length > 0);
  const chunks = pieces.flatMap((piece) => [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]);
  return Buffer.concat([head, ...chunks, Buffer.from("0\r\n\r\n")]);
}

/** Whether a response belongs to a request: it repeats the id, has the status, and the text if it was served. */
export function faultOf(
  request: SentRequest,
  answer: { readonly status: number; readonly headers: Readonly<Record<string, unknown>>; readonly body: string },
): string | undefined {
  const told = `${request.what} (${request.id}): ${answer.status} ${String(answer.headers["x-request-id"])}`;
  if (answer.headers["x-request-id"] !== request.id) return `${told}: the response of another request`;
  if (answer.status !== request.status) return `${told}: expected ${request.status}, ${answer.body.slice(0, 150)}`;
  if (request.text !== undefined && !answer.body.includes(request.text))
    return `${told}: another body, ${answer.body.slice(0, 150)}`;
  const grpc = answer.headers["grpc-status"] ?? /grpc-status: (\d+)/.exec(answer.body)?.[1];
  if (request.grpcStatus !== undefined && grpc !== undefined && Number(grpc) !== request.grpcStatus)
    return `${told}: status ${grpc}`;
  return undefined;
}
