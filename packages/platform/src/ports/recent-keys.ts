/** A bounded map: keeps at most the `maxKeys` most recently used keys. */
export class RecentKeys<T> {
  readonly #generation: number;
  // Two generations make a cheap cache: an entry that is not read while in the younger one is dropped with the older
  // one.
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  constructor(maxKeys: number) {
    this.#generation = Math.ceil(maxKeys / 2);
  }

  /** The value of a key; marks the key as recently used. */
  get(key: string): T | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: T): void {
    if (this.#young.size >= this.#generation && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  /** All entries, each key once. */
  *entries(): Generator<[string, T]> {
    yield* this.#young;
    for (const entry of this.#old) if (!this.#young.has(entry[0])) yield entry;
  }
}
