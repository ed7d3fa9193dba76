import { type Secrets, signingSecret } from "../config/secrets.ts";
import { ErrorReason, fail } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { createRedisBus } from "./bus-redis.ts";
import { createSealedBus } from "./bus-sealed.ts";
import { startRedisConcurrencyLimiter } from "./concurrency-limiter-redis.ts";
import type { Ports } from "./ports.ts";
import { startRedisRateLimiter } from "./rate-limiter-redis.ts";
import { connectRedis, whenReady } from "./redis.ts";
import { joinReplicas, onlyReplica } from "./replicas.ts";
import { systemId } from "./system-id.ts";

/** Opens the ports over Redis, on two connections. */
export function openRedisPorts(options: {
  redisUrl: string;
  busSecret: Secrets;
  logger: Logger;
  role?: string;
  now?: () => number;
}): Ports {
  const { redisUrl, logger, role, now } = options;
  const redis = connectRedis(redisUrl, { name: "turnwright", logger });
  const listening = connectRedis(redisUrl, { name: "turnwright-bus", logger, lazyConnect: true, autoResubscribe: false });
  const open = createRedisBus({ sending: redis, listening, logger });
  const bus = createSealedBus({ bus: open, secrets: options.busSecret, logger });
  // Another system on the same Redis does not share this one's limits.
  const replicas =
    role === undefined
      ? onlyReplica(redis)
      : joinReplicas({ redis, bus, role: `${systemId(signingSecret(options.busSecret))}:${role}` });
  // Unsealed: its messages are published by scripts inside Redis, next to the counts they report.
  const limiter = startRedisRateLimiter({ redis, bus: role === undefined ? undefined : open, replicas, logger, now });
  const concurrency = startRedisConcurrencyLimiter({ redis, replicas, logger });
  return {
    kind: "redis",
    limiter,
    concurrency,
    bus,
    async ping() {
      const until = performance.now() + 2_000;
      while (await whenReady(redis, Math.max(1, until - performance.now()))) {
        const answer = await redis.ping().catch((cause: unknown) => {
          // One late reply on an overloaded machine is not an outage.
          if (performance.now() >= until) throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer", { cause });
        });
        if (answer !== undefined) return;
      }
      throw fail(ErrorReason.REDIS_UNAVAILABLE, "Redis does not answer");
    },
    async close() {
      limiter.close();
      concurrency.close();
      await replicas.leave();
      redis.disconnect();
      listening.disconnect();
    },
  };
}
