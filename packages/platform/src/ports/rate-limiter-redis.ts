import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { decision, type RateDecision, type RateLimiter, type RateLimits, windowLengths } from "./rate-limiter.ts";
import { type KeyWindows, newWindows, takeFrom } from "./rate-limiter-memory.ts";
import { RecentKeys } from "./recent-keys.ts";
import type { Replicas } from "./replicas.ts";

/**
 * The rules of rate-limiter-memory.ts over one string a key: `start previous current` of the minute, then of the day, and the id under which the string
 * was begun. A process that knew another id adds all that it allowed in its windows: Redis has lost what it knew. Otherwise it adds what it allowed while
 * Redis did not answer.
 */
const script = `
local per_minute, per_day, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local minute, day = ${windowLengths.minute}, ${windowLengths.day}
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local known_id, own_minute, own_day = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local unseen_minute, unseen_day = tonumber(ARGV[8]), tonumber(ARGV[9])
local state = redis.call('GET', KEYS[1])
local ms, mp, mc, ds, dp, dc, id
if state then
  ms, mp, mc, ds, dp, dc, id = string.match(state, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
end
local is_lost = known_id ~= '' and known_id ~= id
id = id or ARGV[4]
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
local function keep(expiry)
  local text = string.format('%.0f %.0f %.0f %.0f %.0f %.0f %s', ms, mp, mc, ds, dp, dc, id)
  redis.call('SET', KEYS[1], text, 'PX', math.max(1, expiry - now))
end
ms, mp, mc = roll(ms, mp, mc, minute)
ds, dp, dc = roll(ds, dp, dc, day)
mc = mc + (is_lost and own_minute or unseen_minute)
dc = dc + (is_lost and own_day or unseen_day)
local minute_left = left(ms, mp, mc, minute, per_minute)
local day_left = left(ds, dp, dc, day, per_day)
if minute_left > 0 and day_left > 0 then
  if per_minute > 0 then mc = mc + 1 end
  if per_day > 0 then dc = dc + 1 end
  local expiry = per_day > 0 and ds + 2 * day or ms + 2 * minute
  keep(expiry)
  if minute_left <= day_left then return {1, per_minute, minute_left - 1, ms + minute - now, 0, id} end
  return {1, per_day, day_left - 1, ds + day - now, 0, id}
end
if is_lost or unseen_minute > 0 or unseen_day > 0 then keep(ds + 2 * day) end
local minute_wait = minute_left > 0 and 0 or wait(ms, mp, mc, minute, per_minute)
local day_wait = day_left > 0 and 0 or wait(ds, dp, dc, day, per_day)
if minute_wait >= day_wait then return {0, per_minute, 0, ms + minute - now, minute_wait, id} end
return {0, per_day, 0, ds + day - now, day_wait, id}
`;
const scriptHash = hash("sha1", script);

/** How long a failed request keeps the next ones from trying, in milliseconds: a server that hangs costs one timeout a second. */
const pauseMs = 1_000;

/** What this process itself allowed of a key, for the time when Redis does not know. */
interface Own {
  readonly windows: KeyWindows;
  /** Under which id Redis counts; empty: not known. */
  id: string;
  /** Allowed while Redis did not answer, in the windows that run. */
  unseenMinute: number;
  unseenDay: number;
}

/**
 * A limiter for all processes that share a Redis: one atomic script, one round trip, the server's clock. While Redis does not
 * answer, each process allows its part of the limits, less what it has allowed already; afterwards Redis learns what was allowed without it, and what it
 * has forgotten.
 */
export function createRedisRateLimiter(options: {
  redis: Redis;
  logger: Logger;
  replicas: Replicas;
  /** Replaces the server's clock; milliseconds. */
  now?: () => number;
}): RateLimiter {
  const { redis, logger, replicas } = options;
  const now = options.now ?? Date.now;
  const keys = new RecentKeys<Own>();
  let isDown = false;
  let pausedUntil = 0;

  function ownOf(key: string, at: number): Own {
    const own = keys.get(key, () => ({ windows: newWindows(at), id: "", unseenMinute: 0, unseenDay: 0 }));
    const { minute, day } = own.windows;
    if (at >= minute.start + windowLengths.minute) own.unseenMinute = 0;
    if (at >= day.start + windowLengths.day) own.unseenDay = 0;
    minute.roll(at, windowLengths.minute);
    day.roll(at, windowLengths.day);
    return own;
  }

  async function takeFromRedis(key: string, own: Own, limits: RateLimits): Promise<RateDecision> {
    const { minute, day } = own.windows;
    const { unseenMinute, unseenDay } = own;
    // Told once: requests at the same time must not tell it again.
    own.unseenMinute = 0;
    own.unseenDay = 0;
    try {
      const [allowed = 0, limit = 0, remaining = 0, resetMs = 0, retryMs = 0, id = ""] = await run([
        `turnwright:rate:${key}`,
        limits.perMinute,
        limits.perDay,
        options.now?.() ?? "",
        crypto.randomUUID(),
        own.id,
        minute.current,
        day.current,
        unseenMinute,
        unseenDay,
      ]);
      if (isDown) logger.info("rate limits are shared again");
      isDown = false;
      own.id = String(id);
      if (allowed === 1) {
        minute.current += 1;
        day.current += 1;
      }
      return decision(allowed === 1, Number(limit), Number(remaining), Number(resetMs), Number(retryMs));
    } catch (error) {
      own.unseenMinute += unseenMinute;
      own.unseenDay += unseenDay;
      throw error;
    }
  }

  async function run(args: (string | number)[]): Promise<(number | string)[]> {
    try {
      return (await redis.evalsha(scriptHash, 1, ...args)) as (number | string)[];
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return (await redis.eval(script, 1, ...args)) as (number | string)[];
    }
  }

  function takeAlone(own: Own, limits: RateLimits, at: number, error?: unknown): RateDecision {
    if (!isDown) logger.warn({ err: error }, "Redis does not answer: each process allows its part of the limits");
    isDown = true;
    const shares = { perMinute: replicas.shareOf(limits.perMinute), perDay: replicas.shareOf(limits.perDay) };
    const decided = takeFrom(own.windows, shares, at);
    if (decided.allowed) {
      if (limits.perMinute > 0) own.unseenMinute += 1;
      if (limits.perDay > 0) own.unseenDay += 1;
    }
    // The headers tell of the limit that the token has, not of this process's part.
    const limit = decided.limit === shares.perMinute ? limits.perMinute : limits.perDay;
    return { ...decided, limit, remaining: Math.floor(decided.remaining) };
  }

  return {
    take(key, limits) {
      if (limits.perMinute <= 0 && limits.perDay <= 0) return Promise.resolve(decision(true, 0, 0, 0, 0));
      replicas.join();
      const at = now();
      const own = ownOf(key, at);
      if (redis.status !== "ready" || performance.now() < pausedUntil) return Promise.resolve(takeAlone(own, limits, at));
      return takeFromRedis(key, own, limits).catch((error: unknown) => {
        pausedUntil = performance.now() + pauseMs;
        return takeAlone(own, limits, now(), error);
      });
    },
  };
}
