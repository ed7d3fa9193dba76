import { ErrorReason, fail } from "@turnwright/platform/errors";
import { Multimap } from "@turnwright/platform/multimap";
import type { FastifyRequest } from "fastify";

/**
 * Grace period in which calls may still finish, in milliseconds: a call that ended its own credential gets its
 * response.
 */
const graceMs = 250;

/** Requests in flight by credential, so that they end with it. */
export class LiveCalls {
  readonly #calls = new Multimap<string, FastifyRequest>();

  /** Until `delete`, the request ends when its credential does. */
  add(tokenId: string, request: FastifyRequest): void {
    this.#calls.add(tokenId, request);
  }

  delete(tokenId: string, request: FastifyRequest): void {
    this.#calls.delete(tokenId, request);
  }

  /**
   * Ends a credential's current requests after the grace period: calls into the mesh are cancelled, streams end with an
   * error.
   */
  revoke(tokenId: string): void {
    const ending = this.#calls.get(tokenId);
    if (ending.length === 0) return;
    const end = () => {
      const live = new Set(this.#calls.get(tokenId));
      for (const request of ending.filter((one) => live.has(one))) {
        request.disconnect ??= new AbortController();
        request.disconnect.abort(fail(ErrorReason.INVALID_TOKEN, "The credential has ended."));
      }
    };
    setTimeout(end, graceMs).unref();
  }
}
