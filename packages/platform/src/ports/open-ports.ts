import type { Secrets } from "../config/secrets.ts";
import type { Logger } from "../logger.ts";
import { createMemoryBus } from "./bus-memory.ts";
import { createMemoryConcurrencyLimiter } from "./concurrency-limiter-memory.ts";
import type { Ports } from "./ports.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";

/**
 * Opens the ports: over Redis when there is a URL, else within this process. Redis ports start heartbeats and renewals,
 * which `close` ends. Processes of one `role` divide the limits among themselves while Redis is away; without a role,
 * this process counts as alone. `busSecret` authenticates messages between processes. `now` (milliseconds) replaces the
 * rate limiter's clock.
 */
export async function openPorts(options: {
  redisUrl?: string;
  busSecret: Secrets;
  logger: Logger;
  role?: string;
  now?: () => number;
}): Promise<Ports> {
  const { redisUrl, busSecret, logger, role, now } = options;
  if (redisUrl !== undefined) {
    // A process without Redis does not load the driver.
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
