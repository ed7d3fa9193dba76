import { setTimeout as delay } from "node:timers/promises";

/** Pauses between attempts: `firstMs`, then doubled each time, up to `longestMs`. */
export interface Pauses {
  /** Milliseconds before the second attempt; 100 unless given. */
  readonly firstMs?: number;
  /** The longest pause in milliseconds; 1,000 unless given. */
  readonly longestMs?: number;
}

/** The pauses between attempts in milliseconds; never ends. */
export function* growingPauses({ firstMs = 100, longestMs = 1_000 }: Pauses = {}): Generator<number, never> {
  for (let pauseMs = firstMs; ; pauseMs = Math.min(pauseMs * 2, longestMs)) yield pauseMs;
}

/** When and for how long `retrying` repeats. */
export interface Retries extends Pauses {
  /** Whether this failure is transient; any other is thrown at once. `attempts` counts the attempts made, from 1. */
  readonly mayPass: (error: unknown, attempts: number) => boolean;
  /**
   * Milliseconds from the first attempt within which another attempt may begin, or a function that returns how many
   * milliseconds are left; it is called after each failure.
   */
  readonly patienceMs: number | (() => number);
  /** Multiplies every pause by a random factor between 0.5 and 1.5. */
  readonly jitter?: boolean;
  /** Aborts a pause; `retrying` then rejects with the signal's AbortError. */
  readonly signal?: AbortSignal;
  /** Called for every failure that is followed by another attempt. */
  readonly onRetry?: (error: unknown, attempts: number) => void;
}

/**
 * Calls `work` until it succeeds. `work` must be safe to repeat. Rejects with the last failure when it is not transient
 * or when the next attempt would begin after the patience has run out.
 */
export async function retrying<T>(work: (attempt: number) => Promise<T>, retries: Retries): Promise<T> {
  const startedAt = performance.now();
  const leftMs = () =>
    typeof retries.patienceMs === "number" ? startedAt + retries.patienceMs - performance.now() : retries.patienceMs();
  // Created by the first failure: work that waits for long should hold little.
  let pauses: Generator<number, never> | undefined;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!retries.mayPass(error, attempt)) throw error;
      pauses ??= growingPauses(retries);
      const pauseMs = pauses.next().value * (retries.jitter ? 0.5 + Math.random() : 1);
      if (pauseMs > leftMs()) throw error;
      retries.onRetry?.(error, attempt);
      await delay(pauseMs, undefined, { signal: retries.signal });
    }
  }
}
