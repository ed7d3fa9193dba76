/** Several values under one key. A key without values is not kept. */
export class Multimap<K, V> {
  readonly #sets = new Map<K, Set<V>>();

  /** Adds a value; a duplicate is kept once. */
  add(key: K, value: V): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }

  /** Removes a value; returns false when it was not there. */
  delete(key: K, value: V): boolean {
    const set = this.#sets.get(key);
    if (set === undefined || !set.delete(value)) return false;
    if (set.size === 0) this.#sets.delete(key);
    return true;
  }

  /** A copy of the values under a key; safe to iterate while the map changes. */
  get(key: K): readonly V[] {
    return [...(this.#sets.get(key) ?? [])];
  }

  /** Whether a key has a value. */
  has(key: K): boolean {
    return this.#sets.has(key);
  }

  /** The keys that have values. */
  keys(): IterableIterator<K> {
    return this.#sets.keys();
  }
}
