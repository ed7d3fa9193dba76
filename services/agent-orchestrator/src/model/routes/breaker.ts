/** State of a breaker: `closed` lets all calls pass, `open` none, `half_open` one, the probe. */
export type BreakerState = "closed" | "open" | "half_open";

/** Consecutive failures that open a breaker. */
export const failuresToOpen = 5;
/** The first pause of an open breaker in milliseconds, doubled after each failed probe. */
const firstPauseMs = 2_000;
const longestPauseMs = 60_000;

/** A call that a breaker has let pass. Exactly one of `succeeded`, `failed` and `dropped` counts: the first. */
export interface Admission {
  /** The model answers. A probe that has got so far closes the breaker. */
  began(): void;
  /** The answer is whole, or the endpoint refused the request for a fault of the request. */
  succeeded(): void;
  /** The endpoint failed. */
  failed(error: unknown): void;
  /** The call ended without a verdict on the endpoint: it was cancelled, or never sent. */
  dropped(): void;
}

/**
 * Spares a failing endpoint, and the callers the wait for it. Opens after `failuresToOpen` consecutive failures; after
 * a pause it lets one call pass as a probe. The pause is 2 s and doubles up to 60 s with each failed probe; it varies
 * by a quarter, so that several processes do not probe at once.
 */
export class Breaker {
  readonly #now: () => number;
  readonly #random: () => number;
  #state: BreakerState = "closed";
  #failures = 0;
  #lastFailure: unknown;
  #pauses = 0;
  #openUntil = 0;
  /** Raised whenever the breaker opens: the outcome of an older call no longer counts. */
  #epoch = 0;

  /** `now`: milliseconds of a clock that never goes back; `random`: from 0 to 1. */
  constructor(options: { readonly now?: () => number; readonly random?: () => number } = {}) {
    this.#now = options.now ?? (() => performance.now());
    this.#random = options.random ?? Math.random;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Consecutive failures. */
  get failures(): number {
    return this.#failures;
  }

  /** The newest failure; undefined when there is none since the last success. */
  get lastFailure(): unknown {
    return this.#lastFailure;
  }

  /** Milliseconds until a call may pass; 0 when one may pass now. During a probe: the time after which to ask again. */
  get retryInMs(): number {
    if (this.#state === "closed") return 0;
    if (this.#state === "half_open") return firstPauseMs / 2;
    return Math.max(0, this.#openUntil - this.#now());
  }

  /** Lets a call pass, or returns undefined. Each admitted call must report its end. */
  admit(): Admission | undefined {
    if (this.#state !== "closed" && this.retryInMs > 0) return undefined;
    const isProbe = this.#state === "open";
    if (isProbe) this.#state = "half_open";
    const epoch = this.#epoch;
    let isOver = false;
    const once = (act: () => void) => {
      if (isOver) return;
      isOver = true;
      if (epoch === this.#epoch) act();
    };
    return {
      began: () => {
        if (isProbe && !isOver && epoch === this.#epoch && this.#state === "half_open") this.#reopenable();
      },
      succeeded: () => once(() => this.#close()),
      failed: (error) => once(() => this.#fail(error, isProbe)),
      dropped: () =>
        once(() => {
          // Another call may be the probe, at once.
          if (isProbe && this.#state === "half_open") this.#state = "open";
        }),
    };
  }

  #close(): void {
    this.#state = "closed";
    this.#failures = 0;
    this.#lastFailure = undefined;
    this.#pauses = 0;
  }

  /** Closes while the probe goes on: if it fails after all, or the next call does, the breaker opens again. */
  #reopenable(): void {
    this.#state = "closed";
    this.#failures = failuresToOpen - 1;
  }

  #fail(error: unknown, isProbe: boolean): void {
    this.#failures += 1;
    this.#lastFailure = error;
    if (!isProbe && this.#failures < failuresToOpen) return;
    const pauseMs = Math.min(firstPauseMs * 2 ** this.#pauses, longestPauseMs);
    this.#state = "open";
    this.#openUntil = this.#now() + pauseMs * (0.75 + this.#random() / 2);
    this.#pauses += 1;
    this.#epoch += 1;
  }
}
