const windowMs = 60_000;
const slotMs = 5_000;
const slots = windowMs / slotMs;

/** Counts events of the last minute, in steps of 5 s. */
class MinuteCount {
  readonly #counts = new Array<number>(slots).fill(0);
  #slot = 0;
  #sum = 0;

  /** Forgets what is older than a minute. */
  at(now: number): this {
    const slot = Math.floor(now / slotMs);
    for (let passed = Math.min(slot - this.#slot, slots); passed > 0; passed--) {
      const index = (slot - passed + 1) % slots;
      this.#sum -= this.#counts[index] as number;
      this.#counts[index] = 0;
    }
    this.#slot = Math.max(slot, this.#slot);
    return this;
  }

  get sum(): number {
    return this.#sum;
  }

  add(): void {
    this.#counts[this.#slot % slots] = (this.#counts[this.#slot % slots] as number) + 1;
    this.#sum += 1;
  }
}

/**
 * Bounds the retries of one provider, so that a provider in trouble is not given more traffic than usual: at most a
 * share of the calls of the last minute, and always a few.
 */
export class RetryBudget {
  readonly #calls = new MinuteCount();
  readonly #retries = new MinuteCount();
  readonly #share: number;
  readonly #least: number;
  readonly #now: () => number;

  /** `share`: retries per call, 0.2 unless given. `least`: retries per minute that are always possible, 10. */
  constructor(options: { share?: number; least?: number; now?: () => number } = {}) {
    this.#share = options.share ?? 0.2;
    this.#least = options.least ?? 10;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Counts a call, without its retries. */
  onCall(): void {
    this.#calls.at(this.#now()).add();
  }

  /** Takes a retry; false: the budget is used up, and the call must fail with what it has. */
  take(): boolean {
    const now = this.#now();
    const retries = this.#retries.at(now);
    if (retries.sum >= Math.max(this.#least, Math.floor(this.#calls.at(now).sum * this.#share))) return false;
    retries.add();
    return true;
  }
}
