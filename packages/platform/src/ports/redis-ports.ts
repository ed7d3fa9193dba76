import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { connectRedis, whenReady } from "../redis.ts";
import { createRedisBus } from "./bus-redis.ts";
import { createRedisConcurrencyLimiter } from "./concurrency-redis.ts";
import type { Ports } from "./ports.ts";
import { createRedisRateLimiter } from "./rate-limiter-redis.ts";
import { countReplicas } from "./replicas.ts";

/** The ports over Redis, on two connections. */
export function createRedisPorts(options: {
  redisUrl: string;
  logger: Logger;
  now?: () => number;
  replicas?: { group: string; heartbeatMs: number };
}): Ports {
  const { redisUrl, logger, now } = options;
  const redis = connectRedis(redisUrl, { name: "turnwright", logger });
  const replicas = countReplicas(redis, options.replicas);
  const listening = connectRedis(redisUrl, { name: "turnwright-bus", logger, lazyConnect: true, autoResubscribe: false });
  const concurrency = createRedisConcurrencyLimiter({ redis, replicas, logger });
  return {
    kind: "redis",
    concurrency,
    limiter: createRedisRateLimiter({ redis, logger, replicas, now }),
    bus: createRedisBus({ sending: redis, listening, logger }),
    async ping() {
      if (!(await whenReady(redis, 2_000))) throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer");
      await redis.ping().catch((cause: unknown) => {
        throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer", { cause });
      });
    },
    async close() {
      concurrency.close();
      await replicas.close();
      redis.disconnect();
      listening.disconnect();
    },
  };
}
