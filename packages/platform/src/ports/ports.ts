import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { connectRedis, whenReady } from "../redis.ts";
import type { Bus } from "./bus.ts";
import { createMemoryBus } from "./bus-memory.ts";
import { createRedisBus } from "./bus-redis.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";
import { createRedisRateLimiter } from "./rate-limiter-redis.ts";

/** What processes share beside the database. */
export interface Ports {
  readonly kind: "redis" | "memory";
  readonly limiter: RateLimiter;
  readonly bus: Bus;
  /** Resolves when the shared part answers; rejects with REDIS_UNAVAILABLE after 2 s without. */
  ping(): Promise<void>;
  /** Gives up the connections. */
  close(): Promise<void>;
}

/** The ports over Redis when there is a URL, else within this process. `now` (milliseconds) replaces the clock of the limiter. */
export function createPorts(options: { redisUrl?: string; logger: Logger; now?: () => number }): Ports {
  const { redisUrl, logger, now } = options;
  if (redisUrl === undefined) {
    return {
      kind: "memory",
      limiter: createMemoryRateLimiter({ now }),
      bus: createMemoryBus({ logger }),
      ping: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  }
  const redis = connectRedis(redisUrl, { name: "turnwright", logger });
  const listening = connectRedis(redisUrl, { name: "turnwright-bus", logger, lazyConnect: true, autoResubscribe: false });
  return {
    kind: "redis",
    limiter: createRedisRateLimiter({ redis, logger, now }),
    bus: createRedisBus({ sending: redis, listening, logger }),
    async ping() {
      if (!(await whenReady(redis, 2_000))) throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer");
      await redis.ping().catch((cause: unknown) => {
        throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer", { cause });
      });
    },
    close() {
      redis.disconnect();
      listening.disconnect();
      return Promise.resolve();
    },
  };
}
