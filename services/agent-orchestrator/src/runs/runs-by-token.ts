import { ErrorReason, fail } from "@turnwright/platform/errors";

/**
 * For how long a token that was minted before the end of its credential may still come in: as long as it lives, and
 * what clocks may differ by.
 */
const rememberedMs = 330_000;

/** Runs under way in this process, by the credential that started them, so that they and their tools end with it. */
export class LiveRuns {
  readonly #runs = new Map<string, Set<AbortController>>();
  /** Credentials that ended or changed, in two halves: since `#turnedAt`, and for as long before that. */
  #heard = new Set<string>();
  #heardBefore = new Set<string>();
  #turnedAt = Date.now();

  /** From now until the returned function is called, the run is aborted when its credential ends. */
  add(tokenId: string, controller: AbortController): () => void {
    const runs = this.#runs.get(tokenId) ?? new Set();
    this.#runs.set(tokenId, runs.add(controller));
    return () => {
      if (runs.delete(controller) && runs.size === 0 && this.#runs.get(tokenId) === runs) this.#runs.delete(tokenId);
    };
  }

  /** Whether a credential ended or changed so lately that a token of it which comes in now may be older than that. */
  hasHeardOf(tokenId: string): boolean {
    this.#turn();
    return this.#heard.has(tokenId) || this.#heardBefore.has(tokenId);
  }

  #turn(): void {
    const agoMs = Date.now() - this.#turnedAt;
    if (agoMs < rememberedMs) return;
    this.#heardBefore = agoMs < 2 * rememberedMs ? this.#heard : new Set();
    this.#heard = new Set();
    this.#turnedAt = Date.now();
  }

  /** Aborts a credential's runs. */
  revoke(tokenId: string): void {
    this.#turn();
    this.#heard.add(tokenId);
    const runs = this.#runs.get(tokenId);
    if (runs === undefined) return;
    this.#runs.delete(tokenId);
    for (const controller of runs) {
      controller.abort(fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The credential that the run acted with has ended."));
    }
  }
}
