import { ErrorReason, fail } from "@turnwright/platform/errors";
import { Multimap } from "@turnwright/platform/multimap";

/**
 * How long a token that was minted before its credential ended may still arrive, in milliseconds: the token's lifetime
 * plus the allowed clock skew.
 */
const rememberedMs = 330_000;

/** The runs of this process by the credential that started them, so that they and their tools end with it. */
export class RunsByToken {
  readonly #runs = new Multimap<string, AbortController>();
  /** Credentials that ended or changed, in two generations: since `#turnedAt`, and the equally long time before. */
  #heard = new Set<string>();
  #heardBefore = new Set<string>();
  #turnedAt = Date.now();

  /** Aborts the run when its credential ends, until the returned function is called. */
  add(tokenId: string, controller: AbortController): () => void {
    this.#runs.add(tokenId, controller);
    return () => void this.#runs.delete(tokenId, controller);
  }

  /** Whether a credential ended or changed so recently that an arriving token of it may be older than the change. */
  hasHeardOf(tokenId: string): boolean {
    this.#forgetOld();
    return this.#heard.has(tokenId) || this.#heardBefore.has(tokenId);
  }

  #forgetOld(): void {
    const agoMs = Date.now() - this.#turnedAt;
    if (agoMs < rememberedMs) return;
    this.#heardBefore = agoMs < 2 * rememberedMs ? this.#heard : new Set();
    this.#heard = new Set();
    this.#turnedAt = Date.now();
  }

  /** Aborts a credential's runs. */
  revoke(tokenId: string): void {
    this.#forgetOld();
    this.#heard.add(tokenId);
    for (const controller of this.#runs.get(tokenId)) {
      this.#runs.delete(tokenId, controller);
      controller.abort(fail(ErrorReason.RUN_CREDENTIAL_ENDED, "The credential that the run acted with has ended."));
    }
  }
}
