import { type ConcurrencyLimiter, HeldSlots, uncounted } from "./concurrency-limiter.ts";

/** Slots of one process. */
export function createMemoryConcurrencyLimiter(): ConcurrencyLimiter {
  const held = new HeldSlots();
  return {
    async acquire(key, max) {
      if (max <= 0) return uncounted;
      return held.count(key) < max ? held.hold(key) : undefined;
    },
  };
}
