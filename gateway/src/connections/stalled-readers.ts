import type { Http2ServerResponse } from "node:http2";
import type { Logger } from "@turnwright/platform/logger";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { CountedResponse } from "./counted-response.ts";
import type { OpenRequests } from "./drain.ts";

/** Interval at which responses are checked, in milliseconds; shorter when the limit is short. */
const lookMs = 1_000;
/** The limit while the client, or all clients together, hold too much, in milliseconds. */
const pressedMs = 5_000;

type Raw = FastifyReply["raw"];

/** The response's stream over HTTP/2. */
function streamOf(raw: Raw): Http2ServerResponse["stream"] | undefined {
  return (raw as unknown as Partial<Http2ServerResponse>).stream;
}

/**
 * How much of a response its connection has taken, up to a constant. HTTP/2 does not count the bytes that a stream has
 * sent; its buffer grows with every write, so that only a shrinking buffer shows that the client reads.
 */
function taken(raw: Raw): number {
  if (streamOf(raw) !== undefined) return -raw.writableLength;
  const { socket } = raw;
  return socket === null ? 0 : socket.bytesWritten - socket.writableLength;
}

function isPressed(raw: Raw): boolean {
  return (raw as Raw & Partial<CountedResponse>).exchange?.isPressed() ?? false;
}

/**
 * Ends a response and frees its buffers, including the system's: an orderly close would keep them for a client that
 * does not read. The last stream of an HTTP/2 connection ends the connection.
 */
function cut(raw: Raw, isLastOf: (session: unknown) => boolean): void {
  const stream = streamOf(raw);
  if (stream === undefined) {
    raw.socket?.resetAndDestroy();
    return;
  }
  const { session } = stream;
  stream.destroy();
  if (session !== undefined && isLastOf(session)) session.destroy();
}

/**
 * Starts to cut stalled responses: those with waiting data of which the connection has taken no byte for `limitMs`,
 * over any protocol; sooner when clients hold too much. The response's call into the mesh is cancelled. A stream with
 * nothing to send is left alone, and so is a client that reads slowly. Returns the function that stops the watch.
 */
export function watchStalledReaders({
  open,
  limitMs,
  logger,
}: {
  open: OpenRequests;
  limitMs: number;
  logger: Logger;
}): () => void {
  /** Responses with waiting data. */
  const behind = new Map<FastifyRequest, { taken: number; since: number }>();
  const look = () => {
    const now = performance.now();
    for (const [request, { raw }] of open) {
      try {
        lookAt(request, raw, now);
      } catch (error) {
        // One broken connection must hide none of the others.
        logger.error({ err: error, request_id: request.id }, "response cannot be checked");
        open.delete(request);
      }
    }
    for (const request of behind.keys()) if (!open.has(request)) behind.delete(request);
  };
  const lookAt = (request: FastifyRequest, raw: Raw, now: number) => {
    // Without a socket, the response waits behind another one of its connection.
    if (raw.writableLength === 0 || raw.socket === null) {
      behind.delete(request);
      return;
    }
    const known = behind.get(request);
    const before = known?.taken ?? Number.NEGATIVE_INFINITY;
    const current = taken(raw);
    if (known === undefined || current > before) behind.set(request, { taken: current, since: now });
    else if (now - known.since < (isPressed(raw) ? Math.min(limitMs, pressedMs) : limitMs)) known.taken = current;
    else {
      logger.info({ request_id: request.id, route: request.routeOptions.url, waiting: raw.writableLength }, "stalled reader cut");
      open.delete(request);
      cut(raw, (session) => ![...open.values()].some((reply) => streamOf(reply.raw)?.session === session));
    }
  };
  const timer = setInterval(look, Math.min(lookMs, limitMs / 10)).unref();
  return () => clearInterval(timer);
}
