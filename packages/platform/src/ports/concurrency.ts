/** Ends the use of a slot; calling it again does nothing. */
export type ReleaseSlot = () => void;

/** Bounds how much of a key's work is under way at once, in all processes together. */
export interface ConcurrencyLimiter {
  /**
   * Takes a slot of a key that has `max` of them; undefined: all are taken. A process that is killed gives its slots back within half a minute. Never
   * rejects.
   */
  acquire(key: string, max: number): Promise<ReleaseSlot | undefined>;
}

/** Slots within one process. */
export function createMemoryConcurrencyLimiter(): ConcurrencyLimiter & { held(key: string): number } {
  const counts = new Map<string, number>();
  const held = (key: string) => counts.get(key) ?? 0;
  return {
    held,
    acquire(key, max) {
      if (held(key) >= max) return Promise.resolve(undefined);
      counts.set(key, held(key) + 1);
      let isHeld = true;
      return Promise.resolve(() => {
        if (!isHeld) return;
        isHeld = false;
        if (held(key) <= 1) counts.delete(key);
        else counts.set(key, held(key) - 1);
      });
    },
  };
}
