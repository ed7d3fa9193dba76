import { ConnectError } from "@connectrpc/connect";
import type { FastifyReply, FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyRequest {
    /**
     * Fires when the client disconnects before its response is complete. When the gateway ends the request (credential
     * ended, shutdown), the reason is a ConnectError. Created on first use.
     */
    disconnect: AbortController | undefined;
  }
}

/** A signal that fires when the client disconnects before its response is complete, or has already done so. */
export function disconnectSignal(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  if (request.disconnect === undefined) {
    request.disconnect = new AbortController();
    if (reply.raw.destroyed) request.disconnect.abort();
  }
  return request.disconnect.signal;
}

/** The error with which the gateway itself ended a request; undefined when it did not. */
export function endedBecause(signal: AbortSignal | undefined): ConnectError | undefined {
  return signal?.aborted && signal.reason instanceof ConnectError ? signal.reason : undefined;
}
