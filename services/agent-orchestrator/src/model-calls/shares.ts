import { ErrorReason, fail } from "@turnwright/platform/errors";
import { type WaitingCall, WaitingCalls } from "./waiting-calls.ts";

/** A model call that asks for one of a provider's connections. */
export interface Claim {
  /** The provider whose connections are shared. */
  readonly provider: string;
  readonly userId: string;
  /** The model, by the provider's name for it. */
  readonly model: string;
  /** Size of the request, which is held in memory while the call waits. */
  readonly bytes: number;
  readonly signal: AbortSignal;
}

/** Gives the connection back; without effect when it is called again. */
export type Release = () => void;

/** How one provider's connections are used. */
export interface ProviderLoad {
  readonly provider: string;
  /** Connections; Infinity: unlimited. */
  readonly limit: number;
  readonly inProgress: number;
  readonly waiting: number;
  /** Milliseconds that the first call of the queue has waited. */
  readonly oldestWaitMs: number;
}

/** A user may have this many times as many calls in progress as connections stay free. */
const userFactor = 3;
/** A model may have this many times as many calls in progress as connections stay free. */
const modelFactor = 7;
/** Connections below which no part is kept from a single model. */
const leastForModels = 8;
/** Memory of a waiting call besides its request, in bytes. */
const overheadBytes = 16_384;
/** The most memory of all calls that wait for a provider, in bytes. */
const defaultQueueBytes = 64 * 1024 * 1024;
/** Calls that are refused in one turn of the event loop. */
const refusedAtOnce = 4;
/** Milliseconds beyond the longest wait after which a queue counts as stuck. */
const stuckAfterMs = 5_000;

/** Limits of the shares. */
export interface SharesOptions {
  /** The most calls of a provider in progress; asked again for each call. Infinity: unlimited. */
  readonly limitOf: (provider: string) => number;
  /** The longest wait in milliseconds. */
  readonly waitMs: number;
  /** The most memory of the calls that wait for a provider, in bytes; default 64 MiB. */
  readonly queueBytes?: number;
}

/** The connections of one provider. */
class Provider {
  inProgress = 0;
  readonly waiting: WaitingCalls;
  readonly #name: string;
  readonly #options: SharesOptions;
  readonly #byUser = new Map<string, number>();
  readonly #byModel = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, options: SharesOptions) {
    this.#name = name;
    this.#options = options;
    this.waiting = new WaitingCalls(options.queueBytes ?? defaultQueueBytes);
  }

  get limit(): number {
    return this.#options.limitOf(this.#name);
  }

  take({ userId: user, model, bytes, signal }: Claim): Release | Promise<Release> {
    if (this.#mayStart(user, model)) return this.#start(user, model);
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener("abort", onAbort);
        this.waiting.delete(call);
        this.#watch();
      };
      const onAbort = () => {
        leave();
        reject(signal.reason);
      };
      const call: WaitingCall = {
        user,
        model,
        weight: bytes + overheadBytes,
        since: performance.now(),
        start: () => {
          leave();
          resolve(this.#start(user, model));
        },
        refuse: (cause) => {
          const refusal = this.#refusal(user, cause);
          leave();
          reject(refusal);
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.waiting.add(call);
      this.#watch();
    });
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #start(user: string, model: string): Release {
    this.inProgress += 1;
    this.#byUser.set(user, this.#of(user) + 1);
    this.#byModel.set(model, (this.#byModel.get(model) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.inProgress -= 1;
      subtract(this.#byUser, user);
      subtract(this.#byModel, model);
      if (this.waiting.size > 0) this.#startWaiting();
    };
  }

  #of(user: string): number {
    return this.#byUser.get(user) ?? 0;
  }

  /**
   * Whether a call may start. Shares depend on what stays free: one user alone gets three quarters of the connections,
   * two get three sevenths each, and so on, so that the next one never finds all of them taken by others.
   */
  #mayStart(user: string, model: string): boolean {
    const { limit } = this;
    const left = limit - this.inProgress - 1;
    if (left < 0) return false;
    const ofUser = this.#of(user);
    if (ofUser > 0 && ofUser + 1 > userFactor * left) return false;
    const ofModel = this.#byModel.get(model) ?? 0;
    return limit < leastForModels || ofModel === 0 || ofModel + 1 <= modelFactor * left;
  }

  #startWaiting(): void {
    for (;;) {
      const next = this.waiting.next(
        (user) => this.#of(user),
        (user, model) => this.#mayStart(user, model),
      );
      if (next === undefined) return;
      next.start();
    }
  }

  /** Sets the timer for the call that has waited longest; all calls wait equally long. */
  #watch(): void {
    const { first } = this.waiting;
    if (first === undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      return;
    }
    if (this.#timer !== undefined) return;
    const leftMs = first.since + this.#options.waitMs - performance.now();
    this.#timer = setTimeout(() => this.#refuseLate(), Math.max(1, Math.ceil(leftMs))).unref();
  }

  #refuseLate(): void {
    this.#timer = undefined;
    // The limit may have been raised meanwhile.
    this.#startWaiting();
    const due = performance.now() - this.#options.waitMs;
    // Calls that came together are refused one turn of the event loop after the other, so that nobody waits for all.
    for (let refused = 0; refused < refusedAtOnce; refused += 1) {
      const { first } = this.waiting;
      if (first === undefined || first.since > due) break;
      first.refuse("late");
    }
    this.#watch();
  }

  /** RATE_LIMITED for a user who has the share that all present users could have; else MODEL_BUSY. */
  #refusal(user: string, cause: "late" | "full"): Error {
    const retryAfterSeconds = Math.max(1, Math.ceil(this.#options.waitMs / 1_000));
    const count = this.#of(user);
    if (count > 0 && (count + 1) * (userFactor * this.#users() + 1) > userFactor * this.limit) {
      return fail(
        ErrorReason.RATE_LIMITED,
        `This account has ${count} calls of the model in progress, which is its share; wait until some have ended.`,
        { retryAfterSeconds },
      );
    }
    const words = {
      late: "All calls that the model's endpoint takes at a time are in progress, and none ended in time.",
      full: "Too many calls wait for the model's endpoint.",
    } satisfies Record<typeof cause, string>;
    return fail(ErrorReason.MODEL_BUSY, words[cause], { retryAfterSeconds });
  }

  /** The number of users with calls in progress or waiting. */
  #users(): number {
    let count = this.#byUser.size;
    for (const user of this.waiting.users()) if (!this.#byUser.has(user)) count += 1;
    return count;
  }
}

function subtract(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 0) - 1;
  if (left > 0) counts.set(name, left);
  else counts.delete(name);
}

/**
 * Shares each provider's connections among users and models. A free connection goes to the waiting user with the fewest
 * calls in progress. The wait is bounded in time and the queue in memory.
 */
export class Shares {
  readonly #options: SharesOptions;
  readonly #providers = new Map<string, Provider>();

  constructor(options: SharesOptions) {
    this.#options = options;
  }

  /**
   * Takes a connection, at once when the share allows it. Rejects with RATE_LIMITED when the user has their share and
   * none of their calls ended in time, with MODEL_BUSY when no connection became free in time or the queue is full
   * (both with a Retry-After), and with the signal's reason when it fires.
   */
  take(claim: Claim): Release | Promise<Release> {
    claim.signal.throwIfAborted();
    let provider = this.#providers.get(claim.provider);
    if (provider === undefined) {
      provider = new Provider(claim.provider, this.#options);
      this.#providers.set(claim.provider, provider);
    }
    return provider.take(claim);
  }

  /** How each provider that was called is used. */
  load(): ProviderLoad[] {
    const now = performance.now();
    return [...this.#providers].map(([name, { limit, inProgress, waiting }]) => ({
      provider: name,
      limit,
      inProgress,
      waiting: waiting.size,
      oldestWaitMs: waiting.first === undefined ? 0 : Math.round(now - waiting.first.since),
    }));
  }

  /** Throws UNAVAILABLE when a call has waited for longer than any may: this process then serves no queue. */
  check(): void {
    const longest = this.#options.waitMs + stuckAfterMs;
    const stuck = this.load().find(({ oldestWaitMs }) => oldestWaitMs > longest);
    if (stuck === undefined) return;
    throw fail(ErrorReason.UNAVAILABLE, `The queue of the provider ${JSON.stringify(stuck.provider)} does not move.`);
  }

  /** Stops the timers; calls that still wait must be ended by their signals. */
  close(): void {
    for (const provider of this.#providers.values()) provider.close();
  }
}
