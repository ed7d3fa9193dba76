import { decideTogether, type RateBucket, type RateDecision, type WindowView, windowLengths } from "./rate-limiter.ts";
import { Window } from "./rate-window.ts";
import { RecentKeys } from "./recent-keys.ts";
import { partOf, type Share } from "./replicas.ts";

/** The windows of a key in Redis; all numbers are milliseconds of its clock, or requests. */
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

/** One window of a key as known to this process; its three layers have the same start. */
class KnownWindow {
  readonly length: number;
  /** Count of all processes, as last reported by Redis before an outage. */
  readonly global: Window;
  /** Requests allowed by this process since then and known to Redis. */
  readonly counted: Window;
  /** Requests allowed by this process since then and unknown to Redis. */
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
    // Redis reports less than is known: it lost the count and gets it back with the next request.
    if (told.used(now, this.length) < global.used(now, this.length)) return;
    for (const layer of layers) this[layer].start = state.start;
    global.previous = state.previous;
    global.current = state.current;
  }

  /**
   * Requests that this process may still allow at a time: its share of the remaining limit, less the requests it has
   * allowed since.
   */
  left(at: number, limit: number, share: Share): number {
    if (limit <= 0) return Number.POSITIVE_INFINITY;
    const forAll = Math.max(0, limit - this.global.used(at, this.length));
    // When the limit is smaller than the number of processes, each allows one request, so that no client is shut out by
    // the process it happens to reach.
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

/** The limited keys known to one process, so that it can apply limits without Redis. Times are on Redis' clock. */
export class RateLedger {
  readonly #entries = new RecentKeys<Entry>(50_000);

  #entryOf(key: string, now: number): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const entry = { minute: new KnownWindow(now, windowLengths.minute), day: new KnownWindow(now, windowLengths.day) };
    this.#entries.set(key, entry);
    return entry;
  }

  /** Adopts the state that Redis reports for a key. */
  learn(key: string, state: KeyState): void {
    const { minute, day } = this.#entryOf(key, state.now);
    minute.learn(state.minute, state.now);
    day.learn(state.day, state.now);
  }

  /** The known state of a key, for the scripts: the windows as text, and the counts of minute and day. */
  known(key: string): [text: string, minute: number, day: number] {
    const entry = this.#entries.get(key);
    return entry === undefined ? ["", 0, 0] : [textOf(entry, "global"), entry.minute.global.current, entry.day.global.current];
  }

  /**
   * Decides by this process's share of all buckets' limits, and counts an allowed request as known or unknown to Redis
   * (`layer`).
   */
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

  /**
   * Uncounts a request that was counted as known to Redis. With `isAllowed` it stands, but Redis may not know of it.
   */
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

  /** Removes the counts that Redis does not know of, to send them; `undo` restores them after a failure. */
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

  /** Ends an outage: the requests allowed by this process since it began become part of the common count. */
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
