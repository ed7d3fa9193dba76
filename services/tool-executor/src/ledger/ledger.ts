import { setTimeout as delay } from "node:timers/promises";
import { Batch } from "@turnwright/platform/async/batch";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { probeTool, runTool, type ToolRun } from "../running/run-tool.ts";
import type { Slots } from "../running/slots.ts";
import {
  type CallEnd,
  type Claim,
  claimCalls,
  finishCalls,
  type KnownCall,
  type RunScope,
  revisitCalls,
} from "../store/calls.ts";
import { completeProbed, restartProbed } from "../store/probes.ts";
import { cancelled, endOf, type Result, refused, resultOf, reused } from "./call-results.ts";
import { type CheckedCall, type Flight, isSameCall, keyOf, type RefusedCall } from "./in-flight-call.ts";
import { Leases } from "./leases.ts";
import type { LedgerWatch } from "./outage-watch.ts";

const firstBackoffMs = 25;
const longestBackoffMs = 400;
/** How long a result is kept to be stored: a run's commits wait as long for their database. */
const storePatienceMs = 60_000;
/** How long when this process ends. */
const lastPatienceMs = 3_000;
const firstStorePauseMs = 50;
const longestStorePauseMs = 1_000;
const away: ReadonlySet<ErrorReason> = new Set([ErrorReason.DATABASE_UNAVAILABLE, ErrorReason.DEADLINE_EXCEEDED]);
/** How long a `once` call goes on without a caller, in leases. */
const farewellLeases = 2;

/**
 * Runs the calls of runs, each once: a call is claimed in the database before it acts, and whoever asks for a call that is claimed
 * gets the result of that one run. In this process the asker waits for it; for a call of another process it looks again, after 25 ms
 * growing to 400 ms, until there is a result or the lease of that process is over. Then a `read` or `idempotent` call is claimed anew
 * and a `once` call is UNKNOWN, unless its tool's probe knows better: it is asked each time that somebody asks for the call. Leases that ran out while
 * the database was away count only when their holders have had time to renew them.
 */
export class Ledger {
  readonly #pool: pg.Pool;
  readonly #slots: Slots;
  readonly #logger: Logger;
  readonly #leases: Leases;
  readonly #ends: Batch<Claim & CallEnd, boolean>;
  readonly #flights = new Map<string, Flight>();
  readonly #ledgerWatch: LedgerWatch;
  /** Until when results are kept that the database does not take, by the clock of this process. */
  #storesUntil = Number.POSITIVE_INFINITY;

  constructor(deps: { pool: pg.Pool; slots: Slots; logger: Logger; leaseMs: number; watch: LedgerWatch }) {
    this.#pool = deps.pool;
    this.#ledgerWatch = deps.watch;
    this.#slots = deps.slots;
    this.#logger = deps.logger;
    this.#leases = new Leases(deps);
    this.#ends = new Batch({ flush: (ends) => finishCalls(deps.pool, ends) });
  }

  /** The results of one round, in its order. Rejects only when the database does not answer. */
  execute(scope: RunScope, calls: readonly (CheckedCall | RefusedCall)[], signal: AbortSignal): Promise<Result[]> {
    const departing: Flight[] = [];
    const results = calls.map((call) => {
      const flight = this.#flights.get(keyOf(scope, call));
      if (flight !== undefined) return this.#join(flight, scope, call, signal);
      if ("refusal" in call) return this.#recall(scope, call, signal);
      const fresh: Flight = {
        call,
        userId: scope.userId,
        controller: new AbortController(),
        landing: Promise.withResolvers(),
        watchers: 0,
      };
      this.#flights.set(keyOf(scope, call), fresh);
      departing.push(fresh);
      return this.#watch(fresh, signal);
    });
    if (departing.length > 0) void this.#depart(scope, departing);
    return Promise.all(results);
  }

  /** Stops calls of a run that are on their way in this process, for all of their callers; resolves when none of them is any more. */
  async stop(run: { runId: string; userId: string }, callIds: readonly string[]): Promise<void> {
    const landings = callIds.flatMap((callId) => {
      const flight = this.#flights.get(keyOf(run, { callId }));
      if (flight === undefined || flight.userId !== run.userId) return [];
      flight.controller.abort(stopped());
      return [flight.landing.promise];
    });
    await Promise.allSettled(landings);
  }

  /** Rejects when the calls of this process cannot be kept its own. */
  ready(): Promise<void> {
    return this.#leases.ready();
  }

  /** Resolves when no call is under way and every result is stored, or when the limit fires. */
  async drain(limit: AbortSignal): Promise<void> {
    const isOver = new Promise<void>((resolve) => limit.addEventListener("abort", () => resolve(), { once: true }));
    while (this.#flights.size > 0 && !limit.aborted) {
      await Promise.race([Promise.allSettled([...this.#flights.values()].map(({ landing }) => landing.promise)), isOver]);
    }
  }

  /** Cancels what runs and waits until its end is stored, for 3 s where the database does not take it. */
  async close(): Promise<void> {
    this.#storesUntil = performance.now() + lastPatienceMs;
    const landings = [...this.#flights.values()].map(({ controller, landing }) => {
      controller.abort(new DOMException("The executor stops.", "AbortError"));
      return landing.promise;
    });
    await Promise.allSettled(landings);
    await this.#ends.idle();
  }

  async #join(flight: Flight, scope: RunScope, call: CheckedCall | RefusedCall, signal: AbortSignal): Promise<Result> {
    const { callId } = call;
    if (!isSameCall(flight, scope, call)) return "refusal" in call ? refused(callId, call.refusal) : reused(callId);
    if (!flight.controller.signal.aborted) return this.#watch(flight, signal);
    // Its callers have gone; what it was cut off at is not what this caller asked for.
    await flight.landing.promise.catch(() => {});
    const [result] = await this.execute(scope, [call], signal);
    return result ?? refused(callId, "The call was lost.");
  }

  /**
   * The flight's result; leaves it when the signal fires. Without callers it is cancelled, unless it is a `once` call, which nobody could ever run
   * again: its caller may have died, and whoever takes over the run asks for the call within that time. Who ends a run on purpose says so by
   * `stop`.
   */
  #watch(flight: Flight, signal: AbortSignal): Promise<Result> {
    clearTimeout(flight.farewell);
    flight.watchers += 1;
    const leave = () => {
      flight.watchers -= 1;
      if (flight.watchers > 0) return;
      const cancel = () => flight.controller.abort(signal.reason);
      if (flight.call.registered.tool.effect !== "once") cancel();
      else flight.farewell = setTimeout(cancel, this.#leases.leaseMs * farewellLeases).unref();
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return flight.landing.promise.finally(() => signal.removeEventListener("abort", leave));
  }

  /** A call that may not run may have run before, under a grant that has ended since: then what it did is the truth. */
  async #recall(scope: RunScope, call: RefusedCall, signal: AbortSignal): Promise<Result> {
    const { callId, refusal } = call;
    for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(backoffMs * 2, longestBackoffMs)) {
      const { isSettled } = this.#ledgerWatch;
      const options = { takeOver: false, leaseMs: this.#leases.leaseMs, isSettled };
      const known = (await revisitCalls(this.#pool, scope, [call], options)).get(callId);
      if (known === undefined || !known.matches || known.status === "cancelled") return refused(callId, refusal);
      if (known.status !== "running") return resultOf(callId, known);
      if (known.leaseLeftMs <= 0 && isSettled) return refused(callId, refusal);
      const pauseMs = known.leaseLeftMs > 0 ? Math.min(backoffMs, known.leaseLeftMs) : backoffMs;
      if (!(await waited(pauseMs, signal))) return cancelled(callId);
    }
  }

  async #depart(scope: RunScope, flights: readonly Flight[]): Promise<void> {
    const land = (flight: Flight, settle: () => void) => {
      this.#flights.delete(keyOf(scope, flight.call));
      clearTimeout(flight.farewell);
      settle();
    };
    try {
      const calls = flights.map(({ call }) => call);
      const claims = await claimCalls(this.#pool, scope, calls, this.#leases.leaseMs);
      const others = calls.filter(({ callId }) => !claims.has(callId));
      const known = others.length === 0 ? new Map<string, KnownCall>() : this.#revisit(scope, others);
      for (const flight of flights) {
        const claim = claims.get(flight.call.callId);
        // What is claimed must not wait for, or fail with, the look at the others: only its own run can end it.
        const flying = claim === undefined ? this.#flyKnown(scope, flight, known) : this.#fly(scope, flight, claim);
        flying.then(
          (result) => land(flight, () => flight.landing.resolve(result)),
          (error: unknown) => land(flight, () => flight.landing.reject(error)),
        );
      }
    } catch (error) {
      for (const flight of flights) land(flight, () => flight.landing.reject(error));
    }
  }

  async #flyKnown(
    scope: RunScope,
    flight: Flight,
    known: Map<string, KnownCall> | Promise<Map<string, KnownCall>>,
  ): Promise<Result> {
    return this.#fly(scope, flight, (await known).get(flight.call.callId));
  }

  #revisit(scope: RunScope, calls: readonly CheckedCall[]): Promise<Map<string, KnownCall>> {
    return revisitCalls(this.#pool, scope, calls, {
      takeOver: true,
      leaseMs: this.#leases.leaseMs,
      isSettled: this.#ledgerWatch.isSettled,
    });
  }

  async #fly(scope: RunScope, flight: Flight, first: Claim | KnownCall | undefined): Promise<Result> {
    const { call, controller } = flight;
    const { callId } = call;
    let entry = first;
    for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(backoffMs * 2, longestBackoffMs)) {
      if (entry === undefined) throw fail(ErrorReason.INTERNAL, "the ledger lost a call");
      if (!("status" in entry) || entry.taken) {
        const end = await this.#run(scope, flight, entry);
        if (end !== undefined) return resultOf(callId, end);
      } else {
        if (entry.isStopped && entry.status === "cancelled") return resultOf(callId, entry);
        if (!entry.matches) return reused(callId);
        if (entry.status === "unknown") {
          const probed = await this.#probe(scope, flight, entry);
          if (probed === undefined) return resultOf(callId, entry);
          if (probed !== "moved") {
            entry = probed;
            continue;
          }
        } else {
          // A cancelled call that was not taken here was taken by somebody else in the same moment.
          const over = entry.status !== "running" && entry.status !== "cancelled";
          if (over) return resultOf(callId, entry);
          const overMs = this.#ledgerWatch.isSettled ? firstBackoffMs : backoffMs;
          const pauseMs = entry.leaseLeftMs > 0 ? Math.min(backoffMs, entry.leaseLeftMs) : overMs;
          if (!(await waited(pauseMs, controller.signal))) return cancelled(callId);
        }
      }
      entry = (await this.#revisit(scope, [call])).get(callId);
    }
  }

  /**
   * Asks the tool what became of a call of which nobody knows: the claim under which it runs again, `moved` when its row says something else
   * now, nothing when the outcome stays unknown.
   */
  async #probe(scope: RunScope, flight: Flight, known: Claim): Promise<Claim | "moved" | undefined> {
    const found = await probeTool({ slots: this.#slots, logger: this.#logger }, this.#runOf(scope, flight));
    switch (found.status) {
      case "unknown":
        return undefined;
      case "completed":
        await completeProbed(this.#pool, known, JSON.stringify(found.output ?? null));
        return "moved";
      case "not_started":
        return (await restartProbed(this.#pool, known, { epoch: scope.epoch, leaseMs: this.#leases.leaseMs })) ?? "moved";
      default:
        return found satisfies never;
    }
  }

  #runOf(scope: RunScope, { call, controller }: Flight): ToolRun {
    const { registered, args, callId } = call;
    const { runId, userId } = scope;
    return { registered, args, userId, callKey: `${runId}:${callId}`, signal: controller.signal };
  }

  /** Runs a claimed call and stores how it ended; nothing when somebody else has claimed it since. */
  async #run(scope: RunScope, flight: Flight, { id, claim }: Claim): Promise<CallEnd | undefined> {
    const { controller } = flight;
    const release = this.#leases.hold({ id, claim }, () => controller.abort(stopped()));
    try {
      const outcome = await runTool({ slots: this.#slots, logger: this.#logger }, this.#runOf(scope, flight));
      const end = endOf(outcome);
      return (await this.#store({ id, claim, ...end })) ? end : undefined;
    } finally {
      release();
    }
  }

  /**
   * A result that cannot be stored would be lost with this process, so a database that is away is waited for. Whoever asks meanwhile waits with it; the
   * claim goes with the result, so that one which somebody has settled since stays as it is.
   */
  async #store(end: Claim & CallEnd): Promise<boolean> {
    const until = performance.now() + storePatienceMs;
    for (let pauseMs = firstStorePauseMs; ; pauseMs = Math.min(pauseMs * 2, longestStorePauseMs)) {
      try {
        return await this.#ends.add(end);
      } catch (error) {
        const isLate = performance.now() + pauseMs > Math.min(until, this.#storesUntil);
        if (isLate || !away.has(reasonOf(error))) throw error;
        if (pauseMs === firstStorePauseMs) this.#logger.warn({ err: error }, "result of a call not stored yet");
        await delay(pauseMs);
      }
    }
  }
}

function stopped(): DOMException {
  return new DOMException("The call was cancelled.", "AbortError");
}

/** Whether the time passed; false when the signal fired first. */
async function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
