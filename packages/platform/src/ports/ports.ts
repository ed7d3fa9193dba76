import type { Bus } from "./bus.ts";
import type { ConcurrencyLimiter } from "./concurrency-limiter.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** State that processes share besides the database. */
export interface Ports {
  readonly kind: "redis" | "memory";
  readonly limiter: RateLimiter;
  readonly concurrency: ConcurrencyLimiter;
  readonly bus: Bus;
  /** Resolves when the store answers; rejects with REDIS_UNAVAILABLE after at most 2 s. */
  ping(): Promise<void>;
  /** Closes the connections and ends heartbeats and renewals. */
  close(): Promise<void>;
}
