import type { ServerResponse } from "node:http";
import { type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import type { Compression, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { send, sendHead } from "../http/sse.ts";
import { compressions } from "./decompression.ts";

/** Messages from this size on are compressed, in bytes, as Connect does. */
const compressedBytes = 1_024;
const prefixBytes = 5;

/** The encoding of the messages after the first one. */
interface LaterFormat {
  readonly method: DescMethod;
  readonly compression: Compression | undefined;
}

/** A response whose later messages are sent without Connect. */
export interface LaterMessages extends LaterFormat {
  readonly messages: AsyncIterator<Message>;
}

/** Sends a whole response by connect-node, which the first such response loads. */
async function sendWhole(response: UniversalServerResponse, raw: ServerResponse): Promise<void> {
  const { universalResponseToNodeResponse } = await import("@connectrpc/connect-node");
  await universalResponseToNodeResponse(response, raw);
}

async function* continued(first: IteratorResult<Uint8Array>, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    for (let chunk = first; !chunk.done; chunk = await rest.next()) yield chunk.value;
  } finally {
    await rest.return?.();
  }
}

/**
 * Sends a response's head and its first message, which Connect frames, and frees Connect's pipeline, which would hold
 * 25 KB for as long as the next message does not come. Returns the later messages. Undefined: the response has been
 * sent to its end by Connect, since there are none, or `later` gives none.
 */
export async function sendFirst(
  response: UniversalServerResponse,
  raw: ServerResponse,
  { method, later, signal }: { method: DescMethod; later: () => AsyncIterator<Message> | undefined; signal: AbortSignal },
): Promise<LaterMessages | undefined> {
  const body = response.body?.[Symbol.asyncIterator]();
  if (body === undefined) {
    await sendWhole(response, raw);
    return undefined;
  }
  const first = await body.next();
  const messages = first.done ? undefined : later();
  if (first.done || messages === undefined) {
    await sendWhole({ ...response, body: continued(first, body) }, raw);
    return undefined;
  }
  const encoding = response.header?.get("grpc-encoding") ?? response.header?.get("connect-content-encoding");
  sendHead(raw, response.status, Object.fromEntries(response.header ?? []));
  await body.return?.();
  await send(raw, first.value, signal);
  return { method, messages, compression: compressions.find(({ name }) => name === encoding) };
}

/** A message after its prefix of flags and length, as in gRPC and in Connect streams. */
async function envelope({ method, compression }: LaterFormat, message: Message): Promise<Buffer> {
  const bytes = toBinary(method.output, message);
  const isCompressed = compression !== undefined && bytes.length >= compressedBytes;
  const sent = isCompressed ? await compression.compress(bytes) : bytes;
  const whole = Buffer.allocUnsafe(prefixBytes + sent.length);
  whole.writeUInt8(isCompressed ? 1 : 0, 0);
  whole.writeUInt32BE(sent.length, 1);
  whole.set(sent, prefixBytes);
  return whole;
}

/** How a stream ended: its error, unless it was complete. */
export type StreamEnd = { readonly error: unknown } | undefined;

/** Sends the later messages, and returns how they ended. */
export async function sendLater(later: LaterMessages, raw: ServerResponse, signal: AbortSignal): Promise<StreamEnd> {
  const { messages } = later;
  try {
    for (let next = await messages.next(); !next.done; next = await messages.next()) {
      const taken = send(raw, await envelope(later, next.value), signal);
      if (taken !== undefined) await taken;
      if (signal.aborted) throw signal.reason;
    }
    return undefined;
  } catch (error) {
    messages.return?.().catch(() => {});
    return { error };
  }
}

/** The later messages of a stream that ends at once, for Connect to tell its end. */
export function endingWith(end: StreamEnd): AsyncIterator<never> {
  return {
    async next() {
      if (end !== undefined) throw end.error;
      return { done: true, value: undefined };
    },
  };
}

/** Sends the end of a stream as Connect frames it. */
export async function sendEnd(response: UniversalServerResponse, raw: ServerResponse): Promise<void> {
  for await (const chunk of response.body ?? []) raw.write(chunk);
  if (response.trailer !== undefined) raw.addTrailers(Object.fromEntries(response.trailer));
  raw.end();
}
