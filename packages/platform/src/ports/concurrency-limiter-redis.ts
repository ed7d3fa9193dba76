import { hash, randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { type ConcurrencyLimiter, HeldSlots, type Release, uncounted } from "./concurrency-limiter.ts";
import { runScript, runScriptOnMany, type Script } from "./rate-scripts.ts";
import { partOf, type Replicas } from "./replicas.ts";

const keyPrefix = "turnwright:slots:";
/** How long a slot stays taken without a word from its holder. */
const leaseMs = 30_000;
const renewalMs = 10_000;
/** How long a failed request keeps the next ones from trying. */
const pauseMs = 1_000;

const scriptOf = (text: string): Script => ({ text, sha: hash("sha1", text) });

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** The slots of a key are a sorted set of leases by the time at which they end. ARGV: lease, its length, how many there may be. */
const acquireScript = scriptOf(`${clock}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`);

/** Also brings back what Redis has lost: a slot that is held is taken. */
const renewScript = scriptOf(`${clock}
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);

/**
 * Slots for all processes that share a Redis, as leases by its clock that their holder renews. While Redis does not answer, each process
 * gives out its part; its slots are known to Redis again when it is back.
 */
export function createRedisConcurrencyLimiter(options: {
  redis: Redis;
  replicas: Replicas;
  logger: Logger;
}): ConcurrencyLimiter & { close(): void } {
  const { redis, replicas, logger } = options;
  const held = new HeldSlots();
  /** The key of each lease. */
  const leases = new Map<string, string>();
  let isDown = false;
  let pausedUntil = 0;

  async function renew(): Promise<void> {
    if (leases.size === 0 || redis.status !== "ready") return;
    const calls = [...leases].map(([lease, key]) => ({ key: keyPrefix + key, args: [lease, leaseMs] }));
    try {
      await runScriptOnMany(redis, renewScript, calls);
      // What was given back while the renewal was under way.
      for (const { key, args } of calls) if (!leases.has(String(args[0]))) forget(key, String(args[0]));
    } catch (error) {
      logger.debug({ err: error }, "slots were not renewed");
    }
  }

  function forget(redisKey: string, lease: string): void {
    if (redis.status === "ready") redis.zrem(redisKey, lease).catch(() => {});
  }

  const onReady = () => void renew();
  redis.on("ready", onReady);
  const timer = setInterval(onReady, renewalMs).unref();

  function hold(key: string, lease: string): Release {
    leases.set(lease, key);
    return held.hold(key, () => {
      leases.delete(lease);
      forget(keyPrefix + key, lease);
    });
  }

  function acquireAlone(key: string, max: number, error?: unknown): Release | undefined {
    if (!isDown) logger.warn({ err: error }, "Redis does not answer: each process gives out its part of the slots");
    isDown = true;
    const mine = Math.max(1, partOf(max, replicas.share()));
    return held.count(key) < mine ? hold(key, randomUUID()) : undefined;
  }

  return {
    async acquire(key, max) {
      if (max <= 0) return uncounted;
      if (redis.status !== "ready" || performance.now() < pausedUntil) return acquireAlone(key, max);
      const lease = randomUUID();
      try {
        const isMine = (await runScript(redis, acquireScript, keyPrefix + key, [lease, leaseMs, max])) === 1;
        if (isDown) logger.info("slots are shared again");
        isDown = false;
        return isMine ? hold(key, lease) : undefined;
      } catch (error) {
        pausedUntil = performance.now() + pauseMs;
        return acquireAlone(key, max, error);
      }
    },
    close() {
      clearInterval(timer);
      redis.off("ready", onReady);
      for (const [lease, key] of leases) forget(keyPrefix + key, lease);
    },
  };
}
