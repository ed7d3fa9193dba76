import type { Logger } from "../logger.ts";
import type { Bus } from "./bus.ts";
import { createMemoryBus } from "./bus-memory.ts";
import { type ConcurrencyLimiter, createMemoryConcurrencyLimiter } from "./concurrency.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";

/** What processes share beside the database. */
export interface Ports {
  readonly kind: "redis" | "memory";
  readonly limiter: RateLimiter;
  readonly concurrency: ConcurrencyLimiter;
  readonly bus: Bus;
  /** Resolves when the shared part answers; rejects with REDIS_UNAVAILABLE after 2 s without. */
  ping(): Promise<void>;
  /** Gives up the connections. */
  close(): Promise<void>;
}

/**
 * The ports over Redis when there is a URL, else within this process. `now` (milliseconds) replaces the clock of the limiter; `replicas` the group of
 * processes that share limits, and how often they say that they are there.
 */
export async function createPorts(options: {
  redisUrl?: string;
  logger: Logger;
  now?: () => number;
  replicas?: { group: string; heartbeatMs: number };
}): Promise<Ports> {
  const { redisUrl, logger, now, replicas } = options;
  if (redisUrl !== undefined) {
    // A process without Redis need not hold its driver in memory.
    const { createRedisPorts } = await import("./redis-ports.ts");
    return createRedisPorts({ redisUrl, logger, now, replicas });
  }
  return {
    kind: "memory",
    limiter: createMemoryRateLimiter({ now }),
    concurrency: createMemoryConcurrencyLimiter(),
    bus: createMemoryBus({ logger }),
    ping: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}
