import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { FastifyRequest } from "fastify";

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

  /** Ends a credential's requests: calls into the mesh are cancelled, streams end with an error. */
  revoke(tokenId: string): void {
    const calls = this.#calls.get(tokenId);
    if (calls === undefined) return;
    this.#calls.delete(tokenId);
    for (const request of calls) {
      request.disconnect ??= new AbortController();
      request.disconnect.abort(fail(ErrorReason.INVALID_TOKEN, "The credential has ended."));
    }
  }
}
