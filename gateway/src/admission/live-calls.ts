import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyRequest } from "fastify";

/** How long calls may still take to end by themselves: a call that ended its own credential has its answer by then. */
const graceMs = 250;

/** Requests under way, by the credential that they came with, so that they end with it. */
export class LiveCalls {
  readonly #calls = new Map<string, Set<FastifyRequest>>();

  /** From now until `delete`, the request ends when its credential does. */
  add(tokenId: string, request: FastifyRequest): void {
    const calls = this.#calls.get(tokenId);
    if (calls === undefined) this.#calls.set(tokenId, new Set([request]));
    else calls.add(request);
  }

  delete(tokenId: string, request: FastifyRequest): void {
    const calls = this.#calls.get(tokenId);
    if (calls?.delete(request) && calls.size === 0) this.#calls.delete(tokenId);
  }

  /** Ends a credential's requests of this moment, soon: calls into the mesh are cancelled, streams end with an error. */
  revoke(tokenId: string): void {
    const calls = this.#calls.get(tokenId);
    if (calls === undefined) return;
    const ending = [...calls];
    const end = () => {
      for (const request of ending.filter((one) => calls.has(one))) {
        request.disconnect ??= new AbortController();
        request.disconnect.abort(fail(ErrorReason.INVALID_TOKEN, "The credential has ended."));
      }
    };
    setTimeout(end, graceMs).unref();
  }
}
