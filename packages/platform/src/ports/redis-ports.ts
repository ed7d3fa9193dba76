import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { connectRedis, whenReady } from "../redis.ts";
import { createRedisBus } from "./bus-redis.ts";
import type { Ports } from "./ports.ts";
import { createRedisRateLimiter } from "./rate-limiter-redis.ts";

/** The ports over Redis, on two connections. */
export function createRedisPorts(options: { redisUrl: string; logger: Logger; now?: () => number }): Ports {
  const { redisUrl, logger, now } = options;
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
