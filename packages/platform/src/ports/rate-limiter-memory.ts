import { decision, type RateDecision, type RateLimiter, type RateLimits, windowLengths } from "./rate-limiter.ts";
import { RecentKeys } from "./recent-keys.ts";

/** One window of one key. */
export class Window {
  /** Milliseconds since the epoch. */
  start: number;
  /** Requests allowed in this window. */
  current = 0;
  /** Requests allowed in the window before. */
  previous = 0;

  constructor(now: number) {
    this.start = now;
  }

  /** Moves on to the window that holds `now`. */
  roll(now: number, length: number): void {
    if (now < this.start + length) return;
    if (now >= this.start + 2 * length) {
      this.start = now;
      this.previous = 0;
    } else {
      this.start += length;
      this.previous = this.current;
    }
    this.current = 0;
  }

  /** What counts against the limit: this window's requests, and of the one before the part that has not faded out. */
  used(now: number, length: number): number {
    if (this.previous === 0) return this.current;
    const faded = (Math.max(0, now - this.start) + 1) / length;
    return Math.floor(this.previous * (1 - faded)) + this.current;
  }

  /** Milliseconds until `used` is below a limit that it has reached. */
  wait(now: number, length: number, limit: number): number {
    const inThisWindow = this.current < limit;
    const start = inThisWindow ? this.start : this.start + length;
    const faded = inThisWindow ? 1 - (limit - this.current) / this.previous : Math.max(0, 1 - limit / this.current);
    return Math.max(1, Math.floor(start + length * faded) - now);
  }
}

/** Both windows of a key. */
export interface KeyWindows {
  readonly minute: Window;
  readonly day: Window;
}

/** Windows that begin now. */
export function newWindows(now: number): KeyWindows {
  return { minute: new Window(now), day: new Window(now) };
}

/**
 * A limiter for one process. Memory is bounded: it knows the `maxKeys` (100,000) most recent keys or fewer, and forgets
 * those that were idle longest.
 */
export function createMemoryRateLimiter(options: { maxKeys?: number; now?: () => number } = {}): RateLimiter {
  const now = options.now ?? Date.now;
  const keys = new RecentKeys<KeyWindows>(options.maxKeys);
  return {
    take(key, limits) {
      if (limits.perMinute <= 0 && limits.perDay <= 0) return Promise.resolve(decision(true, 0, 0, 0, 0));
      const at = now();
      return Promise.resolve(
        takeFrom(
          keys.get(key, () => newWindows(at)),
          limits,
          at,
        ),
      );
    },
  };
}

/** Decides on one request by a key's windows, and counts it if it is allowed. */
export function takeFrom({ minute, day }: KeyWindows, limits: RateLimits, now: number): RateDecision {
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
  const minuteWait = leftInMinute > 0 ? 0 : minute.wait(now, windowLengths.minute, perMinute);
  const dayWait = leftInDay > 0 ? 0 : day.wait(now, windowLengths.day, perDay);
  return minuteWait >= dayWait
    ? decision(false, perMinute, 0, minute.start + windowLengths.minute - now, minuteWait)
    : decision(false, perDay, 0, day.start + windowLengths.day - now, dayWait);
}
