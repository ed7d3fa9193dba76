import { hash } from "node:crypto";

/**
 * Caches the claims of verified tokens until they expire, so that each signature is verified once. Keyed by the SHA-256
 * of the whole token; bounded, evicts the oldest entry first.
 */
export class TokenCache<T> {
  readonly #entries = new Map<string, { value: T; expiresAt: number }>();
  readonly #limit: number;

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /** The cached value of a token that has not expired; `now` in milliseconds. */
  get(token: string, now: number = Date.now()): T | undefined {
    const key = hash("sha256", token, "base64");
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt > now) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** Caches a value until `expiresAt` (milliseconds). */
  set(token: string, value: T, expiresAt: number): void {
    if (this.#entries.size >= this.#limit) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.#entries.set(hash("sha256", token, "base64"), { value, expiresAt });
  }

  /** Removes all values that match. */
  deleteWhere(matches: (value: T) => boolean): void {
    for (const [key, entry] of this.#entries) if (matches(entry.value)) this.#entries.delete(key);
  }
}
