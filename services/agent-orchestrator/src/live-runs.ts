import { ErrorReason, fail } from "@turnwright/platform/errors";

/** Runs under way in this process, by the credential that they act with, so that they and their tools end with it. */
export class LiveRuns {
  readonly #runs = new Map<string, Set<AbortController>>();

  /** From now until the returned function is called, the run is aborted when its credential ends. */
  add(tokenId: string, controller: AbortController): () => void {
    const runs = this.#runs.get(tokenId) ?? new Set();
    this.#runs.set(tokenId, runs.add(controller));
    return () => {
      if (runs.delete(controller) && runs.size === 0 && this.#runs.get(tokenId) === runs) this.#runs.delete(tokenId);
    };
  }

  /** Aborts a credential's runs. */
  revoke(tokenId: string): void {
    const runs = this.#runs.get(tokenId);
    if (runs === undefined) return;
    this.#runs.delete(tokenId);
    for (const controller of runs) {
      controller.abort(fail(ErrorReason.INVALID_TOKEN, "The credential that the run acted with has ended."));
    }
  }
}
