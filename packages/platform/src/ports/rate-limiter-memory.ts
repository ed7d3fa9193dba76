import { decideTogether, isLimited, type RateLimiter, unlimited, type WindowView, windowLengths } from "./rate-limiter.ts";
import { Window } from "./rate-window.ts";
import { RecentKeys } from "./recent-keys.ts";

/** Milliseconds until a full window's `used` falls below the limit. */
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

/** A limiter for one process, with bounded memory: it keeps at most the `maxKeys` (100,000) most recent keys. */
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
    take(buckets) {
      if (!buckets.some(isLimited)) return Promise.resolve(unlimited);
      const at = now();
      const views: WindowView[] = [];
      const windows: Window[] = [];
      const look = (window: Window, limit: number, length: number) => {
        window.roll(at, length);
        if (limit <= 0) return;
        windows.push(window);
        const wait = () => waitOf(window, at, length, limit);
        views.push({ limit, left: limit - window.used(at, length), resetMs: window.start + length - at, wait });
      };
      for (const { key, perMinute, perDay } of buckets) {
        const { minute, day } = entryOf(key, at);
        look(minute, perMinute, windowLengths.minute);
        look(day, perDay, windowLengths.day);
      }
      const decided = decideTogether(views);
      if (decided.allowed) for (const window of windows) window.current += 1;
      return Promise.resolve(decided);
    },
  };
}
