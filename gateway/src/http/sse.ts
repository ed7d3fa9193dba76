import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import { endedBecause } from "./disconnect.ts";

const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
};
const heartbeat = ": ping\n\n";
/** What may wait for a reader before we wait for it, in bytes; an event more than that is held at most. */
const aheadBytes = 16_384;
/** How long a stream that we ended may take to deliver its last event, in milliseconds. */
const cutMs = 2_000;

/** How a stream is sent. */
export interface EventStreamOptions<T> {
  /** A message as whole events, blank lines included. */
  write(message: T): string | Uint8Array;
  /** What ends a stream that went well. */
  end: string;
  /** An error after the first byte, as one event. */
  error(error: unknown): string;
  /** Silence after which a comment is sent, in milliseconds. */
  heartbeatMs: number;
  /** Fires when the client is gone, or, with an error as its reason, when we end the stream. */
  signal: AbortSignal;
}

/** Writes an event. A promise when the reader has to be waited for: it settles when he has taken what waits for him, or is gone. */
function send(raw: ServerResponse, event: string | Uint8Array, signal: AbortSignal): Promise<void> | undefined {
  const isBehind = raw.writableLength >= aheadBytes;
  if (!isBehind && raw.write(event)) return undefined;
  return new Promise((resolve) => {
    if (signal.aborted || raw.destroyed) {
      resolve();
      return;
    }
    const done = () => {
      raw.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    // A connection that is being destroyed takes nothing and tells of nothing but its end.
    if (isBehind) raw.write(event, done);
    else raw.once("drain", done);
  });
}

/**
 * Sends an RPC's messages as server-sent events. Nothing is written before the first message (or the first heartbeat), so that an
 * error until then is an ordinary response: it is thrown. After that an error becomes the last event, and nothing follows it. A
 * reader that does not read holds the RPC back instead of filling our memory.
 */
export async function sendEventStream<T>(
  reply: FastifyReply,
  messages: AsyncIterable<T>,
  options: EventStreamOptions<T>,
): Promise<void> {
  const { raw } = reply;
  const { signal } = options;
  let open = false;
  const begin = () => {
    if (open) return;
    open = true;
    reply.hijack();
    raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), ...streamHeaders });
  };
  const timer = setTimeout(() => {
    if (signal.aborted) return;
    begin();
    // A reader that is behind has enough to read; the ping would only wait in line.
    if (raw.writableLength === 0) raw.write(heartbeat);
    timer.refresh();
  }, options.heartbeatMs);
  try {
    for await (const message of messages) {
      begin();
      timer.refresh();
      const taken = send(raw, options.write(message), signal);
      if (taken !== undefined) await taken;
      if (signal.aborted) throw signal.reason;
    }
    begin();
    raw.end(options.end);
  } catch (thrown) {
    const ended = endedBecause(signal);
    if (signal.aborted && ended === undefined) {
      begin();
      raw.destroy();
      return;
    }
    const error = ended ?? thrown;
    if (!open) throw error;
    raw.end(options.error(error));
    // A reader that does not read would keep the connection for as long as it likes.
    if (ended !== undefined) setTimeout(() => raw.destroy(), cutMs).unref();
  } finally {
    clearTimeout(timer);
  }
}
