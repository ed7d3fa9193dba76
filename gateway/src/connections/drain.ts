import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DualProtocolServer } from "./protocols.ts";

/**
 * How long a connection must be silent before we close it, in milliseconds: what a client sends at the moment in which we close is lost to it, and one that
 * uses its connections sends something within that time.
 */
const quietMs = 1_000;
const sweepMs = 50;
/** How long requests that we ended may take to say so, in milliseconds. */
const farewellMs = 2_500;

/** Requests whose responses are not through. */
export type OpenRequests = Map<FastifyRequest, FastifyReply>;

/** Ends requests: calls into the mesh are cancelled, streams end with an error event. */
function end(requests: Iterable<FastifyRequest>): void {
  for (const request of requests) {
    request.disconnect ??= new AbortController();
    request.disconnect.abort(fail(ErrorReason.UNAVAILABLE, "This server is shutting down.", { retryAfterSeconds: 1 }));
  }
}

/**
 * Lets a server end such that no client meets a connection that we reset: it accepts no connections, serves what comes on those that it has
 * and says on each that it closes it (`Connection: close`, which fastify sends from here on, and GOAWAY), and closes those that stay silent. Streams and
 * requests that outlast the limit end with an error.
 */
export async function drainServer(options: { server: DualProtocolServer; open: OpenRequests; limitMs: number }): Promise<void> {
  const { server, open, limitMs } = options;
  const startedAt = performance.now();
  const lastUsed = new Map<Socket, number>();
  const first = new Set(open.keys());
  server.stopListening();
  for (const [request, { raw }] of open) {
    if (request.raw.httpVersionMajor === 1 && !raw.headersSent) raw.shouldKeepAlive = false;
  }
  const isOver = () => open.size === 0 && server.keptConnections.size === 0;
  const sweep = (now: number) => {
    const used = new Set([...open.keys()].map((request) => request.raw.socket));
    for (const socket of server.keptConnections) {
      if (used.has(socket)) lastUsed.set(socket, now);
      else if (now - (lastUsed.get(socket) ?? startedAt) >= quietMs) socket.destroySoon();
    }
  };
  let isCut = false;
  while (!isOver()) {
    const elapsedMs = performance.now() - startedAt;
    if (elapsedMs >= limitMs && !isCut) {
      // A short call that has just come, on the connection of a stream that ended, still has its farewell.
      end([...open].flatMap(([request, { raw }]) => (first.has(request) || raw.headersSent ? [request] : [])));
      isCut = true;
    }
    if (elapsedMs >= limitMs + farewellMs) break;
    sweep(performance.now());
    await delay(sweepMs);
  }
  if (isOver()) return;
  // What came meanwhile on the last connections is told as well.
  end(open.keys());
  await delay(sweepMs);
  server.closeAllConnections();
}
