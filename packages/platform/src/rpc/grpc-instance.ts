import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  connectivityState,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { askServing } from "./grpc-serving.ts";

/** A call of grpc-js. */
interface Cancellable {
  cancel(): void;
}

/** An instance to which calls go is asked after this time of silence, in milliseconds. */
const askAfterMs = 250;
/** An instance that answers calls is asked whether it serves this often, in milliseconds. */
const servingEveryMs = 1_000;
/** The time of silence while no calls go to an instance, in milliseconds. */
const askIdleAfterMs = 5_000;
/** An instance without calls for this time, in milliseconds, is idle. */
const idleAfterMs = 30_000;
/** An instance that answers nothing for this time, in milliseconds, although it was asked, is silent. */
const silentAfterMs = 1_000;
/** Calls that may not move are cut after this time of silence, in milliseconds, while another instance answers. */
const cutAfterMs = 5_000;
/** Milliseconds after which a question without an answer is given up and asked again. */
const askTimeoutMs = 20_000;

/** How well an instance can take a call: the lower, the better. */
export const Rank = { GOOD: 0, NOT_SERVING: 1, CONNECTING: 2, SILENT: 3, AWAY: 4 } as const;

/** The connection to one instance of a service, the calls on it, and the signs that it answers. */
export class Instance {
  readonly target: string;
  readonly client: Client;
  /** Calls in flight, and whether another instance may take them. */
  readonly #calls = new Map<Cancellable, boolean>();
  readonly #givenUp = new WeakSet<Cancellable>();
  #heardAt = performance.now();
  #usedAt = performance.now();
  #askedAt: number | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #isSilent = false;
  #isServing = true;

  constructor(target: string, credentials: ChannelCredentials, options: ChannelOptions) {
    this.target = target;
    this.client = new Client(target, credentials, options);
  }

  get isBusy(): boolean {
    return this.#calls.size > 0;
  }

  /** How well it can take a call now; connects when it has no connection. */
  rank(): number {
    const channel = this.client.getChannel();
    switch (channel.getConnectivityState(false)) {
      case connectivityState.READY:
        if (this.#isSilent) return Rank.SILENT;
        return this.#isServing ? Rank.GOOD : Rank.NOT_SERVING;
      case connectivityState.IDLE:
        channel.getConnectivityState(true);
        return this.#isSilent ? Rank.AWAY : Rank.CONNECTING;
      case connectivityState.CONNECTING:
        return this.#isSilent ? Rank.AWAY : Rank.CONNECTING;
      default:
        return Rank.AWAY;
    }
  }

  /** Notes a call that was sent; `mayMove`: another instance may take it as long as nothing has been answered. */
  opened(call: Cancellable, mayMove: boolean): void {
    this.#usedAt = performance.now();
    this.#calls.set(call, mayMove);
  }

  /** Notes that a call was answered in part: it cannot move any more. */
  answered(call: Cancellable): void {
    this.heard();
    if (this.#calls.has(call)) this.#calls.set(call, false);
  }

  /** Notes the end of a call. */
  ended(call: Cancellable, code: number): void {
    this.#calls.delete(call);
    if (code === status.OK) this.heard();
  }

  /** Notes a sign of life. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#isSilent = false;
  }

  /** The error of a call: that of silence if it was given up for that, else the one of grpc-js. */
  errorOf(call: Cancellable, error: unknown): unknown {
    return this.#givenUp.has(call) ? silenceError(this.target) : error;
  }

  /** Asks for a sign of life when it is due, and judges the silence since the last question. */
  watch(now: number): void {
    if (this.#askedAt !== undefined) {
      if (now - Math.max(this.#askedAt, this.#heardAt) > silentAfterMs) this.#isSilent = true;
      return;
    }
    const isIdle = now - this.#usedAt > idleAfterMs && !this.isBusy;
    const isDue = now - this.#toldAt > servingEveryMs || now - this.#heardAt >= askAfterMs;
    if (isIdle ? now - this.#heardAt < askIdleAfterMs : !isDue) return;
    if (this.client.getChannel().getConnectivityState(false) !== connectivityState.READY) return;
    this.#askedAt = now;
    askServing(this.client, "", Date.now() + askTimeoutMs).then(
      (isServing) => {
        this.#askedAt = undefined;
        this.#toldAt = performance.now();
        this.#isServing = isServing;
        this.heard();
      },
      () => {
        // Not a sign of life: the connection failed, or there was no answer.
        this.#askedAt = undefined;
      },
    );
  }

  /** Counts no silence for a time in which this process itself did not run. */
  forgive(ms: number): void {
    this.#heardAt += ms;
    if (this.#askedAt !== undefined) this.#askedAt += ms;
  }

  /** Gives up the calls of a silent instance: those that may move at once, later all. */
  giveUp(now: number): void {
    if (!this.#isSilent || this.#calls.size === 0) return;
    const isOver = now - this.#heardAt > cutAfterMs;
    for (const [call, mayMove] of [...this.#calls]) {
      if (!mayMove && !isOver) continue;
      this.#givenUp.add(call);
      call.cancel();
    }
  }

  close(): void {
    this.client.close();
  }
}

function silenceError(target: string): Pick<ServiceError, "code" | "details" | "metadata"> {
  return { code: status.UNAVAILABLE, details: `No answer from ${target}.`, metadata: new Metadata() };
}
