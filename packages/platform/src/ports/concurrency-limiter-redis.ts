import { hash, randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import {
  type ConcurrencyLimiter,
  HeldSlots,
  limitedOf,
  type Release,
  type SlotBucket,
  uncounted,
} from "./concurrency-limiter.ts";
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

/**
 * The slots of a key are a sorted set of leases by the time at which they end. ARGV: lease, its length, then how many
 * there may be of each key. Takes one of every key and gives 0, or takes none and gives the place of the first key that
 * has none left.
 */
const acquireScript = scriptOf(`${clock}
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then return i end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', key, ARGV[2])
end
return 0
`);

/** Also brings back what Redis has lost: a slot that is held is taken. */
const renewScript = scriptOf(`${clock}
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);

/**
 * Slots for all processes that share a Redis, as leases by its clock that their holder renews. While Redis does not
 * answer, each process gives out its part; its slots are known to Redis again when it is back.
 */
export function startRedisConcurrencyLimiter(options: {
  redis: Redis;
  replicas: Replicas;
  logger: Logger;
}): ConcurrencyLimiter & { close(): void } {
  const { redis, replicas, logger } = options;
  const held = new HeldSlots();
  /** The keys of each lease. */
  const leases = new Map<string, readonly string[]>();
  let isDown = false;
  let pausedUntil = 0;

  async function renew(): Promise<void> {
    if (leases.size === 0 || redis.status !== "ready") return;
    const calls = [...leases].flatMap(([lease, keys]) => keys.map((key) => ({ key, args: [lease, leaseMs] })));
    try {
      await runScriptOnMany(redis, renewScript, calls);
      // What was given back while the renewal was under way.
      for (const { key, args } of calls) if (!leases.has(String(args[0]))) forget([key], String(args[0]));
    } catch (error) {
      logger.debug({ err: error }, "slots were not renewed");
    }
  }

  function forget(keys: readonly string[], lease: string): void {
    if (redis.status !== "ready") return;
    for (const key of keys) redis.zrem(key, lease).catch(() => {});
  }

  const onReady = () => void renew();
  redis.on("ready", onReady);
  const timer = setInterval(onReady, renewalMs).unref();

  function hold(buckets: readonly SlotBucket[], keys: readonly string[], lease: string): Release {
    leases.set(lease, keys);
    return held.hold(buckets, () => {
      leases.delete(lease);
      forget(keys, lease);
    });
  }

  function acquireAlone(buckets: readonly SlotBucket[], keys: readonly string[], error?: unknown): Release | SlotBucket {
    if (!isDown) logger.warn({ err: error }, "Redis does not answer: each process gives out its part of the slots");
    isDown = true;
    const share = replicas.share();
    const full = buckets.find(({ key, max }) => held.count(key) >= Math.max(1, partOf(max, share)));
    return full ?? hold(buckets, keys, randomUUID());
  }

  return {
    async acquire(asked) {
      const buckets = limitedOf(asked);
      if (buckets.length === 0) return uncounted;
      const keys = buckets.map(({ key }) => keyPrefix + key);
      if (redis.status !== "ready" || performance.now() < pausedUntil) return acquireAlone(buckets, keys);
      const lease = randomUUID();
      try {
        const args = [lease, leaseMs, ...buckets.map(({ max }) => max)];
        const full = Number(await runScript(redis, acquireScript, keys, args));
        if (isDown) logger.info("slots are shared again");
        isDown = false;
        return buckets[full - 1] ?? hold(buckets, keys, lease);
      } catch (error) {
        pausedUntil = performance.now() + pauseMs;
        return acquireAlone(buckets, keys, error);
      }
    },
    close() {
      clearInterval(timer);
      redis.off("ready", onReady);
      for (const [lease, keys] of leases) forget(keys, lease);
    },
  };
}
