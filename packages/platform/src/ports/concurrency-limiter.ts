/** Gives a slot back; the second call does nothing. */
export type Release = () => void;

/** Counts what runs at the same time, by key. */
export interface ConcurrencyLimiter {
  /**
   * A slot of the key's `max` (0: without limit), to be given back when the work ends; undefined when all are taken. The slots of a process
   * that is killed are free again after about 30 s. Never rejects.
   */
  acquire(key: string, max: number): Promise<Release | undefined>;
}

const nothing = () => {};

/** A slot that nobody counts. */
export const uncounted: Release = nothing;

/** Slots held by this process. */
export class HeldSlots {
  readonly #counts = new Map<string, number>();

  count(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Holds a slot; what it gives lets it go, once, and calls `onRelease`. */
  hold(key: string, onRelease: () => void = nothing): Release {
    this.#counts.set(key, this.count(key) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = this.count(key) - 1;
      if (left > 0) this.#counts.set(key, left);
      else this.#counts.delete(key);
      onRelease();
    };
  }
}
