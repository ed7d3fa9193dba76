import { type ConcurrencyLimiter, HeldSlots, limitedOf, uncounted } from "./concurrency-limiter.ts";

/** Concurrency slots of one process. */
export function createMemoryConcurrencyLimiter(): ConcurrencyLimiter {
  const held = new HeldSlots();
  return {
    async acquire(buckets) {
      const limited = limitedOf(buckets);
      if (limited.length === 0) return uncounted;
      return limited.find(({ key, max }) => held.count(key) >= max) ?? held.hold(limited);
    },
  };
}
