/** Gives what was taken back; the second call does nothing. */
export type Release = () => void;

/** What is counted together, and how many of it there may be at once; 0: without limit. */
export interface SlotBucket {
  readonly key: string;
  readonly max: number;
}

/** Counts what runs at the same time, by key. */
export interface ConcurrencyLimiter {
  /**
   * A slot of every bucket, in one step, to be given back when the work ends; when one has none left, that bucket, and
   * nothing is taken. The slots of a process that is killed are free again after about 30 s. Never rejects.
   */
  acquire(buckets: readonly SlotBucket[]): Promise<Release | SlotBucket>;
}

const nothing = () => {};

/** A slot that nobody counts. */
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

  /** Holds a slot of each bucket; what it gives lets them go, once, and calls `onRelease`. */
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
