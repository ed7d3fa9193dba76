import type { IncomingMessage } from "node:http";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import type { FastifyRequest } from "fastify";
import { isKnownEncoding } from "./decompression.ts";
import type { MessageFormat } from "./rpc-message.ts";

const connectHeaders = [
  ...["content-type", "content-encoding", "accept-encoding", "connect-content-encoding", "connect-accept-encoding"],
  ...["connect-protocol-version", "connect-timeout-ms", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout"],
];

/** The request headers that Connect reads. */
export function headersFor({ headers }: IncomingMessage): Headers {
  const given = new Headers();
  for (const name of connectHeaders) {
    const value = headers[name];
    if (typeof value === "string") given.set(name, value);
  }
  return given;
}

const nothing = new Uint8Array(0);
const emptyEnvelope = Buffer.from([0, 0, 0, 0, 0]);
const emptyObjectEnvelope = Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]);

async function* only<T>(chunk: T): AsyncGenerator<T> {
  yield chunk;
}

/** An empty message in place of the one already read, so that Connect has nothing to decompress or decode. */
export function emptyBody(format: MessageFormat | undefined): UniversalServerRequest["body"] {
  if (format === undefined || format.place === "query") return only(nothing);
  if (format.place === "envelope") return only(format.isJson ? emptyObjectEnvelope : emptyEnvelope);
  return format.isJson ? {} : only(nothing);
}

/** The messages that a client streams; what is not read is left to the connection. */
export function streamOf({ raw }: FastifyRequest): AsyncIterable<Uint8Array> {
  return raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
}

/** The URL for Connect; that of a GET request carries an empty message. */
export function urlFor(handler: UniversalHandler, { url = "" }: IncomingMessage, format: MessageFormat | undefined): string {
  const target = new URL(handler.requestPath, "http://gateway");
  if (format?.place !== "query") return target.href;
  const given = new URL(url, target).searchParams;
  for (const name of ["encoding", "connect", "compression"]) {
    const value = given.get(name);
    if (value !== null && !(name === "compression" && isKnownEncoding(value))) target.searchParams.set(name, value);
  }
  target.searchParams.set("message", format.isJson ? "{}" : "");
  return target.href;
}
