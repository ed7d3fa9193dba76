import { decideTogether, type RateBucket, type RateDecision, type WindowView, windowLengths } from "./rate-limiter.ts";
import { Window } from "./rate-window.ts";
import { RecentKeys } from "./recent-keys.ts";
import { partOf, type Share } from "./replicas.ts";

/** The windows of a key as Redis has them; all numbers in milliseconds of its clock, or requests. */
export interface KeyState {
  readonly now: number;
  readonly minute: Counts;
  readonly day: Counts;
}

interface Counts {
  readonly start: number;
  readonly previous: number;
  readonly current: number;
}

const layers = ["global", "counted", "alone"] as const;

/** One window of a key as this process knows it; the three parts begin together. */
class KnownWindow {
  readonly length: number;
  /** What all processes counted, by the last word of Redis before it went away. */
  readonly global: Window;
  /** What this process allowed since, and Redis knows of. */
  readonly counted: Window;
  /** What this process allowed since, and Redis does not know of. */
  readonly alone: Window;

  constructor(start: number, length: number) {
    this.length = length;
    this.global = new Window(start);
    this.counted = new Window(start);
    this.alone = new Window(start);
  }

  roll(now: number): void {
    for (const layer of layers) this[layer].roll(now, this.length);
  }

  learn(state: Counts, now: number): void {
    this.roll(now);
    const { global } = this;
    if (state.start === global.start) {
      global.current = Math.max(global.current, state.current);
      global.previous = Math.max(global.previous, state.previous);
      return;
    }
    const told = Object.assign(new Window(state.start), state);
    // Less than what is known: Redis has lost it, and gets it back with the next request.
    if (told.used(now, this.length) < global.used(now, this.length)) return;
    for (const layer of layers) this[layer].start = state.start;
    global.previous = state.previous;
    global.current = state.current;
  }

  /** What this process may still allow at a time: its part of what was left for all, less what it has allowed since. */
  left(at: number, limit: number, share: Share): number {
    if (limit <= 0) return Number.POSITIVE_INFINITY;
    const forAll = Math.max(0, limit - this.global.used(at, this.length));
    // A limit smaller than the number of processes: nobody is shut out by chance of address.
    const mine = limit < share.count && forAll > 0 ? 1 : partOf(forAll, share);
    return mine - this.counted.used(at, this.length) - this.alone.used(at, this.length);
  }

  /** Milliseconds until this process may allow a request again. */
  wait(now: number, limit: number, share: Share): number {
    let [denied, allowed] = [now, now + 2 * this.length];
    while (allowed - denied > 1) {
      const middle = Math.floor((denied + allowed) / 2);
      if (this.left(middle, limit, share) > 0) allowed = middle;
      else denied = middle;
    }
    return allowed - now;
  }

  get reset(): number {
    return this.global.start + this.length;
  }
}

interface Entry {
  readonly minute: KnownWindow;
  readonly day: KnownWindow;
}

const textOf = ({ minute, day }: Entry, layer: (typeof layers)[number]) => {
  const [m, d] = [minute[layer], day[layer]];
  return `${m.start} ${m.previous} ${m.current} ${d.start} ${d.previous} ${d.current}`;
};

/**
 * What one process knows of the keys that are limited, so that it can limit them without Redis. Times are by Redis'
 * clock.
 */
export class RateLedger {
  readonly #entries = new RecentKeys<Entry>(50_000);

  #entryOf(key: string, now: number): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const entry = { minute: new KnownWindow(now, windowLengths.minute), day: new KnownWindow(now, windowLengths.day) };
    this.#entries.set(key, entry);
    return entry;
  }

  /** Takes over what Redis says of a key. */
  learn(key: string, state: KeyState): void {
    const { minute, day } = this.#entryOf(key, state.now);
    minute.learn(state.minute, state.now);
    day.learn(state.day, state.now);
  }

  /** What is known of a key, for the scripts: the windows as text, and the counts of minute and day. */
  known(key: string): [text: string, minute: number, day: number] {
    const entry = this.#entries.get(key);
    return entry === undefined ? ["", 0, 0] : [textOf(entry, "global"), entry.minute.global.current, entry.day.global.current];
  }

  /** Decides by this process's part of the limits of all buckets; counts what it allows as known to Redis or not. */
  take(buckets: readonly RateBucket[], now: number, share: Share, layer: "counted" | "alone"): RateDecision {
    const views: WindowView[] = [];
    const windows: KnownWindow[] = [];
    const look = (window: KnownWindow, limit: number) => {
      window.roll(now);
      if (limit <= 0) return;
      windows.push(window);
      const wait = () => window.wait(now, limit, share);
      views.push({ limit, left: window.left(now, limit, share), resetMs: window.reset - now, wait });
    };
    for (const { key, perMinute, perDay } of buckets) {
      const { minute, day } = this.#entryOf(key, now);
      look(minute, perMinute);
      look(day, perDay);
    }
    const decided = decideTogether(views);
    if (decided.allowed) for (const window of windows) window[layer].current += 1;
    return decided;
  }

  /** Takes back a request that was counted as known to Redis; `isAllowed`: it stands, but Redis may not know of it. */
  correct(buckets: readonly RateBucket[], isAllowed: boolean): void {
    for (const { key, perMinute, perDay } of buckets) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      const counts: [KnownWindow, number][] = [
        [entry.minute, perMinute],
        [entry.day, perDay],
      ];
      for (const [window, limit] of counts) {
        if (limit <= 0) continue;
        window.counted.current = Math.max(0, window.counted.current - 1);
        if (isAllowed) window.alone.current += 1;
      }
    }
  }

  /** Takes out what Redis does not know of, to tell it; `undo` puts it back when that failed. */
  takeUntold(now: number): { untold: { key: string; known: string; alone: string }[]; undo(): void } {
    const untold: { key: string; known: string; alone: string }[] = [];
    const told: { window: KnownWindow; previous: number; current: number }[] = [];
    for (const [key, entry] of this.#entries.entries()) {
      const windows = [entry.minute, entry.day];
      for (const window of windows) window.roll(now);
      if (windows.every(({ alone }) => alone.previous + alone.current === 0)) continue;
      untold.push({ key, known: textOf(entry, "global"), alone: textOf(entry, "alone") });
      for (const window of windows) {
        const { counted, alone } = window;
        told.push({ window, previous: alone.previous, current: alone.current });
        counted.previous += alone.previous;
        counted.current += alone.current;
        alone.previous = 0;
        alone.current = 0;
      }
    }
    const undo = () => {
      for (const { window, previous, current } of told) {
        window.counted.previous = Math.max(0, window.counted.previous - previous);
        window.counted.current = Math.max(0, window.counted.current - current);
        window.alone.previous += previous;
        window.alone.current += current;
      }
    };
    return { untold, undo };
  }

  /** The outage is over: what this process allowed since it began is part of what all have counted. */
  settle(): void {
    for (const [, entry] of this.#entries.entries()) {
      for (const { global, counted, alone } of [entry.minute, entry.day]) {
        for (const own of [counted, alone]) {
          global.previous += own.previous;
          global.current += own.current;
          own.previous = 0;
          own.current = 0;
        }
      }
    }
  }
}
