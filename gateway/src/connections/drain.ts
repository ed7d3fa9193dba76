import type { Socket } from "node:net";
import { setTimeout as delay, setImmediate as polled } from "node:timers/promises";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DualProtocolServer } from "./protocols.ts";

const sweepMs = 50;
/** Time for ended requests to deliver their errors, in milliseconds. */
const farewellMs = 2_500;

/** Longest time to wait for the right moment to close, in milliseconds. */
const stillWithinMs = 250;
/** Processing of one look at all sockets after which little can have arrived, in milliseconds. */
const shortLookMs = 0.5;

/** Waits until a look at all sockets found no new connection and little to do. */
async function untilStill(server: DualProtocolServer): Promise<void> {
  const until = performance.now() + stillWithinMs;
  let connections = 0;
  const count = () => {
    connections += 1;
  };
  server.on("connection", count);
  await polled();
  for (let before = performance.now(); before < until; ) {
    const known = connections;
    await polled();
    const now = performance.now();
    if (connections === known && now - before <= shortLookMs) break;
    before = now;
  }
  server.off("connection", count);
}

/**
 * Accepts no more connections. The kernel resets the connections that wait to be accepted, and one look at the sockets
 * accepts only one of them: the listener closes when a look found none. To be called before connections are closed
 * after their responses: their clients open new ones at once.
 */
export async function stopAccepting(server: DualProtocolServer): Promise<void> {
  await untilStill(server);
  server.stopListening();
}

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
 * Drains a server that accepts no more connections, without resetting one in use. It serves requests on open
 * connections and announces on each that it will close (`Connection: close`, which fastify sends from here on, and
 * GOAWAY), and closes those that stay silent. Streams and requests that exceed the limit end with an error.
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
  const first = new Set(open.keys());
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
    // The kernel resets a connection that closes with a request unread.
    await untilStill(server);
  }
  if (isOver()) return;
  // Requests that arrived meanwhile on the last connections get the error as well.
  end(open.keys());
  await delay(sweepMs);
  server.closeAllConnections();
}
