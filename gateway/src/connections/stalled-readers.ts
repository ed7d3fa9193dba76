import type { Http2ServerResponse } from "node:http2";
import type { Logger } from "@turnwright/platform/logger";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { CountedResponse } from "./counted-response.ts";
import type { OpenRequests } from "./drain.ts";

/** How often responses are looked at while one may be stalled, in milliseconds; more often where the limit is short. */
const lookMs = 1_000;
/** The limit for readers whose client, or all clients together, hold much, in milliseconds. */
const pressedMs = 5_000;

type Raw = FastifyReply["raw"];

/** The response's stream where it goes over HTTP/2. */
function streamOf(raw: Raw): Http2ServerResponse["stream"] | undefined {
  return (raw as unknown as Partial<Http2ServerResponse>).stream;
}

/**
 * How much of a response its connection has taken, up to a constant. Over HTTP/2 nobody counts what a stream has sent:
 * what waits for it grows with what is written, so that only its shrinking tells of a reader.
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
 * Ends a response and frees what is held for it, the system's buffers too: an orderly close would leave them to a
 * reader who does not come. A connection of HTTP/2 goes with its last stream.
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
 * Cuts each response for which something waits and of which its connection has taken no byte for `limitMs`, whatever
 * its protocol, and sooner where clients hold much; what it waits for in the mesh is cancelled with it. A stream that
 * has nothing to send is left alone, and so is a reader who is slow and reads. Gives the function that ends it.
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
  /** Readers for whom something waits. */
  const behind = new Map<FastifyRequest, { taken: number; since: number }>();
  const look = () => {
    const now = performance.now();
    for (const [request, { raw }] of open) {
      // Without a socket it stands in line behind another response of its connection.
      if (raw.writableLength === 0 || raw.socket === null) {
        behind.delete(request);
        continue;
      }
      const known = behind.get(request);
      const before = known?.taken ?? Number.NEGATIVE_INFINITY;
      const current = taken(raw);
      if (known === undefined || current > before) behind.set(request, { taken: current, since: now });
      else if (now - known.since < (isPressed(raw) ? Math.min(limitMs, pressedMs) : limitMs)) known.taken = current;
      else {
        logger.info(
          { request_id: request.id, route: request.routeOptions.url, waiting: raw.writableLength },
          "stalled reader cut",
        );
        open.delete(request);
        cut(raw, (session) => ![...open.values()].some((reply) => streamOf(reply.raw)?.session === session));
      }
    }
    for (const request of behind.keys()) if (!open.has(request)) behind.delete(request);
  };
  const timer = setInterval(look, Math.min(lookMs, limitMs / 10)).unref();
  return () => clearInterval(timer);
}
