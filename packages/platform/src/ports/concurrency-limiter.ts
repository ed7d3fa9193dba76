/** Returns the slots; a second call has no effect. */
export type Release = () => void;

/** A counter of slots, and how many may be taken at once; 0: unlimited. */
export interface SlotBucket {
  readonly key: string;
  readonly max: number;
}

/** Limits concurrent work by key. */
export interface ConcurrencyLimiter {
  /**
   * Takes one slot of every bucket atomically; the returned function gives them back when the work ends. When a bucket
   * is full, takes nothing and resolves to that bucket. Slots of a killed process are free again after about 30 s.
   * Never rejects.
   */
  acquire(buckets: readonly SlotBucket[]): Promise<Release | SlotBucket>;
}

const nothing = () => {};

/** Release of work that no limit applies to. */
export const uncounted: Release = nothing;

/** The buckets that have a limit. */
export function limitedOf(buckets: readonly SlotBucket[]): readonly SlotBucket[] {
  return buckets.every(({ max }) => max > 0) ? buckets : buckets.filter(({ max }) => max > 0);
}

/** Slots held by this process. */
export class HeldSlots {
  readonly #counts = new Map<string, number>();

  count(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Holds a slot of each bucket. The returned function releases them once and calls `onRelease`. */
  hold(buckets: readonly SlotBucket[], onRelease: () => void = nothing): Release {
    for (const { key } of buckets) this.#counts.set(key, this.count(key) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const { key } of buckets) {
        const left = this.count(key) - 1;
        if (left > 0) this.#counts.set(key, left);
        else this.#counts.delete(key);
      }
      onRelease();
    };
  }
}
