import type { Bus } from "./bus.ts";
import type { ConcurrencyLimiter } from "./concurrency-limiter.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** What processes share beside the database. */
export interface Ports {
  readonly kind: "redis" | "memory";
  readonly limiter: RateLimiter;
  readonly concurrency: ConcurrencyLimiter;
  readonly bus: Bus;
  /** Resolves when the shared part answers; rejects with REDIS_UNAVAILABLE after 2 s at most without. */
  ping(): Promise<void>;
  /** Gives up the connections. */
  close(): Promise<void>;
}
