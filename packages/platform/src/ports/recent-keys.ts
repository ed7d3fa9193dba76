/** Values of the keys that were asked for lately: `maxKeys` (100,000) or fewer; those that were idle longest are forgotten. */
export class RecentKeys<V> {
  // Two generations make a cheap cache of the recent keys: what nobody asked for in the younger one goes with the older one.
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  readonly #generation: number;

  constructor(maxKeys = 100_000) {
    this.#generation = Math.ceil(maxKeys / 2);
  }

  /** A key's value, made when it has none. */
  get(key: string, make: () => V): V {
    const known = this.#young.get(key);
    if (known !== undefined) return known;
    const value = this.#old.get(key) ?? make();
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
    return value;
  }
}
