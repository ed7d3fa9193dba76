import { decision, type RateDecision, type RateLimiter, type RateLimits, windowLengths } from "./rate-limiter.ts";
import { Window } from "./rate-window.ts";
import { RecentKeys } from "./recent-keys.ts";

/** Milliseconds until a window's `used` is below a limit that it has reached. */
function waitOf(window: Window, now: number, length: number, limit: number): number {
  const inThisWindow = window.current < limit;
  const start = inThisWindow ? window.start : window.start + length;
  const faded = inThisWindow ? 1 - (limit - window.current) / window.previous : Math.max(0, 1 - limit / window.current);
  return Math.max(1, Math.floor(start + length * faded) - now);
}

interface Entry {
  readonly minute: Window;
  readonly day: Window;
}

/** A limiter for one process. Memory is bounded: it knows the `maxKeys` (100,000) most recent keys or fewer. */
export function createMemoryRateLimiter(options: { maxKeys?: number; now?: () => number } = {}): RateLimiter {
  const now = options.now ?? Date.now;
  const entries = new RecentKeys<Entry>(options.maxKeys ?? 100_000);

  function entryOf(key: string, at: number): Entry {
    const known = entries.get(key);
    if (known !== undefined) return known;
    const entry = { minute: new Window(at), day: new Window(at) };
    entries.set(key, entry);
    return entry;
  }

  return {
    take(key, limits) {
      if (limits.perMinute <= 0 && limits.perDay <= 0) return Promise.resolve(decision(true, 0, 0, 0, 0));
      const at = now();
      return Promise.resolve(takeFrom(entryOf(key, at), limits, at));
    },
  };
}

function takeFrom({ minute, day }: Entry, limits: RateLimits, now: number): RateDecision {
  const { perMinute, perDay } = limits;
  minute.roll(now, windowLengths.minute);
  day.roll(now, windowLengths.day);
  const leftInMinute = perMinute > 0 ? perMinute - minute.used(now, windowLengths.minute) : Number.POSITIVE_INFINITY;
  const leftInDay = perDay > 0 ? perDay - day.used(now, windowLengths.day) : Number.POSITIVE_INFINITY;
  const allowed = leftInMinute > 0 && leftInDay > 0;
  if (allowed) {
    if (perMinute > 0) minute.current += 1;
    if (perDay > 0) day.current += 1;
    return leftInMinute <= leftInDay
      ? decision(true, perMinute, leftInMinute - 1, minute.start + windowLengths.minute - now, 0)
      : decision(true, perDay, leftInDay - 1, day.start + windowLengths.day - now, 0);
  }
  const minuteWait = leftInMinute > 0 ? 0 : waitOf(minute, now, windowLengths.minute, perMinute);
  const dayWait = leftInDay > 0 ? 0 : waitOf(day, now, windowLengths.day, perDay);
  return minuteWait >= dayWait
    ? decision(false, perMinute, 0, minute.start + windowLengths.minute - now, minuteWait)
    : decision(false, perDay, 0, day.start + windowLengths.day - now, dayWait);
}
