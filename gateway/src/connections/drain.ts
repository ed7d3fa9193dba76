import type { Socket } from "node:net";
import { setTimeout as delay, setImmediate as polled } from "node:timers/promises";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DualProtocolServer } from "./protocols.ts";

const sweepMs = 50;
/** Time for ended requests to deliver their errors, in milliseconds. */
const farewellMs = 2_500;

/** Requests whose responses are not complete. */
export type OpenRequests = Map<FastifyRequest, FastifyReply>;

/** Ends requests: calls into the mesh are cancelled, streams end with an error event. */
function end(requests: Iterable<FastifyRequest>): void {
  for (const request of requests) {
    request.disconnect ??= new AbortController();
    request.disconnect.abort(fail(ErrorReason.UNAVAILABLE, "This server is shutting down.", { retryAfterSeconds: 1 }));
  }
}

/**
 * Drains a server without resetting a connection in use. It accepts no new connections, serves requests on open ones
 * and announces on each that it will close (`Connection: close`, which fastify sends from here on, and GOAWAY), and
 * closes those that stay silent. Streams and requests that exceed the limit end with an error.
 */
export async function drainServer(options: {
  server: DualProtocolServer;
  open: OpenRequests;
  /** Milliseconds until requests under way are cut. */
  limitMs: number;
  /**
   * Silence after which a connection is closed, in milliseconds. A request sent at the moment of the close is lost; a
   * client that uses its connections sends something within this time.
   */
  quietMs: number;
}): Promise<void> {
  const { server, open, limitMs, quietMs } = options;
  const startedAt = performance.now();
  const lastUsed = new Map<Socket, number>();
  // Right after a look at all sockets: what is closed with a connection or a request unread is reset by the kernel.
  await polled();
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
      // A short call that has just arrived, on the connection of a stream that ended, still gets its response.
      end([...open].flatMap(([request, { raw }]) => (first.has(request) || raw.headersSent ? [request] : [])));
      isCut = true;
    }
    if (elapsedMs >= limitMs + farewellMs) break;
    sweep(performance.now());
    await delay(sweepMs);
    await polled();
  }
  if (isOver()) return;
  // Requests that arrived meanwhile on the last connections get the error as well.
  end(open.keys());
  await delay(sweepMs);
  server.closeAllConnections();
}
