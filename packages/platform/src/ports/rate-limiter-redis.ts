import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { decision, type RateDecision, type RateLimiter, type RateLimits, windowLengths } from "./rate-limiter.ts";
import { createMemoryRateLimiter } from "./rate-limiter-memory.ts";

/** The rules of rate-limiter-memory.ts over one string a key: `start previous current` of the minute, then of the day. */
const script = `
local per_minute, per_day, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local minute, day = ${windowLengths.minute}, ${windowLengths.day}
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local state = redis.call('GET', KEYS[1])
local ms, mp, mc, ds, dp, dc
if state then
  ms, mp, mc, ds, dp, dc = string.match(state, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
end
local function roll(start, previous, current, length)
  start, previous, current = tonumber(start), tonumber(previous), tonumber(current)
  if not start or now >= start + 2 * length then return now, 0, 0 end
  if now >= start + length then return start + length, current, 0 end
  return start, previous, current
end
local function left(start, previous, current, length, limit)
  if limit <= 0 then return math.huge end
  return limit - math.floor(previous * (1 - (math.max(0, now - start) + 1) / length)) - current
end
local function wait(start, previous, current, length, limit)
  local faded
  if current < limit then
    faded = 1 - (limit - current) / previous
  else
    start = start + length
    faded = math.max(0, 1 - limit / current)
  end
  return math.max(1, math.floor(start + length * faded) - now)
end
ms, mp, mc = roll(ms, mp, mc, minute)
ds, dp, dc = roll(ds, dp, dc, day)
local minute_left = left(ms, mp, mc, minute, per_minute)
local day_left = left(ds, dp, dc, day, per_day)
if minute_left > 0 and day_left > 0 then
  if per_minute > 0 then mc = mc + 1 end
  if per_day > 0 then dc = dc + 1 end
  local expiry = per_day > 0 and ds + 2 * day or ms + 2 * minute
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f %.0f %.0f %.0f', ms, mp, mc, ds, dp, dc), 'PX', math.max(1, expiry - now))
  if minute_left <= day_left then return {1, per_minute, minute_left - 1, ms + minute - now, 0} end
  return {1, per_day, day_left - 1, ds + day - now, 0}
end
local minute_wait = minute_left > 0 and 0 or wait(ms, mp, mc, minute, per_minute)
local day_wait = day_left > 0 and 0 or wait(ds, dp, dc, day, per_day)
if minute_wait >= day_wait then return {0, per_minute, 0, ms + minute - now, minute_wait} end
return {0, per_day, 0, ds + day - now, day_wait}
`;
const scriptHash = hash("sha1", script);

/** How long a failed request keeps the next ones from trying, in milliseconds: a server that hangs costs one timeout a second. */
const pauseMs = 1_000;

/**
 * A limiter for all processes that share a Redis: one atomic script, one round trip, the server's clock. While Redis does not
 * answer, each process limits for itself.
 */
export function createRedisRateLimiter(options: {
  redis: Redis;
  logger: Logger;
  /** Replaces the server's clock; milliseconds. */
  now?: () => number;
}): RateLimiter {
  const { redis, logger } = options;
  const fallback = createMemoryRateLimiter({ now: options.now });
  let isDown = false;
  let pausedUntil = 0;

  async function takeFromRedis(key: string, limits: RateLimits): Promise<RateDecision> {
    const [allowed = 0, limit = 0, remaining = 0, resetMs = 0, retryMs = 0] = await run([
      `turnwright:rate:${key}`,
      limits.perMinute,
      limits.perDay,
      options.now?.() ?? "",
    ]);
    if (isDown) logger.info("rate limits are shared again");
    isDown = false;
    return decision(allowed === 1, limit, remaining, resetMs, retryMs);
  }

  async function run(args: (string | number)[]): Promise<number[]> {
    try {
      return (await redis.evalsha(scriptHash, 1, ...args)) as number[];
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return (await redis.eval(script, 1, ...args)) as number[];
    }
  }

  function takeAlone(key: string, limits: RateLimits, error?: unknown): Promise<RateDecision> {
    if (!isDown) logger.warn({ err: error }, "Redis does not answer: each process limits requests for itself");
    isDown = true;
    return fallback.take(key, limits);
  }

  return {
    take(key, limits) {
      if (limits.perMinute <= 0 && limits.perDay <= 0) return Promise.resolve(decision(true, 0, 0, 0, 0));
      if (redis.status !== "ready" || performance.now() < pausedUntil) return takeAlone(key, limits);
      return takeFromRedis(key, limits).catch((error: unknown) => {
        pausedUntil = performance.now() + pauseMs;
        return takeAlone(key, limits, error);
      });
    },
  };
}
