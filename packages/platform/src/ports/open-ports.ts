import type { Logger } from "../logger.ts";
import { createMemoryBus } from "./bus-memory.ts";
import { createMemoryConcurrencyLimiter } from "./concurrency-limiter-memory.ts";
import type { Ports } from "./ports.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";

/**
 * The ports over Redis when there is a URL, else within this process. Processes of one `role` divide the limits among
 * them while Redis is away; without a role this one counts as alone. `busSecret` authenticates what processes tell each
 * other over Redis. `now` (milliseconds) replaces the clock of the rate limiter.
 */
export async function openPorts(options: {
  redisUrl?: string;
  busSecret: string;
  logger: Logger;
  role?: string;
  now?: () => number;
}): Promise<Ports> {
  const { redisUrl, busSecret, logger, role, now } = options;
  if (redisUrl !== undefined) {
    // A process without Redis need not hold its driver in memory.
    const { openRedisPorts } = await import("./redis-ports.ts");
    return openRedisPorts({ redisUrl, busSecret, logger, role, now });
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
