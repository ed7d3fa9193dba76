import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import { endedBecause } from "./disconnect.ts";

const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
};
const heartbeat = ": ping\n\n";
/** Bytes that may wait for the client before the stream pauses; at most one more event is buffered. */
const aheadBytes = 16_384;
/** Time for an ended stream to deliver its last event, in milliseconds. */
const cutMs = 2_000;

/** Encoding and limits of an event stream. */
export interface EventStreamOptions<T> {
  /** Encodes a message as whole events, blank lines included. */
  write(message: T): string | Uint8Array;
  /** Text that ends a successful stream. */
  end: string;
  /** Encodes an error after the first byte as one event. */
  error(error: unknown): string;
  /** Silence after which a comment is sent, in milliseconds. */
  heartbeatMs: number;
  /** Fires when the client has disconnected, or, with an error as its reason, when the gateway ends the stream. */
  signal: AbortSignal;
  /** Sets headers that depend on the first message; called when it has arrived, unless a heartbeat came before it. */
  onFirst?: () => void;
}

/**
 * Sends a response's head. Sent alone, Node keeps it as one text to the end of the response; sent with the first bytes
 * of the body, Node would keep the dozens of pieces of which it made the head.
 */
export function sendHead(raw: ServerResponse, status: number, headers: Record<string, string>): void {
  raw.writeHead(status, headers);
  raw.flushHeaders();
}

/**
 * Writes an event. Returns a promise when the client is behind: it settles when the client has read the waiting data or
 * has disconnected.
 */
export function send(raw: ServerResponse, event: string | Uint8Array, signal: AbortSignal): Promise<void> | undefined {
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
    // A connection being destroyed accepts nothing and emits only its end.
    if (isBehind) raw.write(event, done);
    else raw.once("drain", done);
  });
}

/**
 * Sends the messages of an RPC, which `opening` has called, as server-sent events. Nothing is written before the first
 * message or heartbeat, so that an earlier error is thrown and becomes an ordinary response. A later error becomes the
 * last event. A client that does not read slows the RPC down instead of filling memory.
 */
export async function sendEventStream<T>(
  reply: FastifyReply,
  opening: Promise<AsyncIterable<T>>,
  options: EventStreamOptions<T>,
): Promise<void> {
  const { raw } = reply;
  const { signal } = options;
  let open = false;
  const begin = () => {
    if (open) return;
    open = true;
    reply.hijack();
    sendHead(raw, 200, { ...(reply.getHeaders() as Record<string, string>), ...streamHeaders });
  };
  const timer = setTimeout(() => {
    if (signal.aborted) return;
    try {
      begin();
      // A client that is behind has enough to read; the ping would only wait in the buffer.
      if (raw.writableLength === 0) raw.write(heartbeat);
      timer.refresh();
    } catch {
      // A throw in the timer would end the process. Closing the response cancels the call.
      raw.destroy();
    }
  }, options.heartbeatMs);
  try {
    for await (const message of await opening) {
      if (!open) {
        options.onFirst?.();
        begin();
      }
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
    // A client that does not read would otherwise keep the connection open indefinitely.
    if (ended !== undefined) setTimeout(() => raw.destroy(), cutMs).unref();
  } finally {
    clearTimeout(timer);
  }
}
