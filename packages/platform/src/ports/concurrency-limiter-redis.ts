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
/** Milliseconds until an unrenewed slot is free again. */
const leaseMs = 30_000;
const renewalMs = 10_000;
/** Milliseconds after a failed request in which Redis is not tried. */
const pauseMs = 1_000;

const scriptOf = (text: string): Script => ({ text, sha: hash("sha1", text) });

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * The slots of a key are a sorted set of leases, ordered by expiry. ARGV: lease id, lease length, then the maximum of
 * each key. Takes one slot of every key and returns 0, or takes none and returns the index of the first key without a
 * free slot.
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

/** Renews a lease; also restores one that Redis has lost. */
const renewScript = scriptOf(`${clock}
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);

/**
 * Starts a limiter for all processes that share a Redis. Slots are leases on Redis' clock, renewed by their holder.
 * While Redis does not answer, each process hands out its share of the slots; Redis learns of these slots when it is
 * back.
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
      // Slots released while the renewal was in flight.
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
    if (!isDown) logger.warn({ err: error }, "Redis does not answer: each process hands out its share of the slots");
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
