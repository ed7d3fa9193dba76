import { hash } from "node:crypto";

/**
 * Caches the claims of verified tokens for as long as they are valid, so that each signature is verified once. Keyed by
 * the SHA-256 of the whole token; bounded, evicts the oldest entry first. Times are those of `performance.now()`, which
 * no correction of the clock changes.
 */
export class TokenCache<T> {
  readonly #entries = new Map<string, { value: T; until: number }>();
  readonly #limit: number;

  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /** The cached value of a token whose time has not passed. */
  get(token: string, now: number = performance.now()): T | undefined {
    const key = hash("sha256", token, "base64");
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.until > now) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** Caches a value for `lifetimeMs` from now. */
  set(token: string, value: T, lifetimeMs: number, now: number = performance.now()): void {
    if (this.#entries.size >= this.#limit) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.#entries.set(hash("sha256", token, "base64"), { value, until: now + lifetimeMs });
  }

  /** Removes all values that match. */
  deleteWhere(matches: (value: T) => boolean): void {
    for (const [key, entry] of this.#entries) if (matches(entry.value)) this.#entries.delete(key);
  }
}
