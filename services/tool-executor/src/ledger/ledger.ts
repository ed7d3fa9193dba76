import { setTimeout as delay } from "node:timers/promises";
import { growingPauses } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import {
  type CallResult,
  cancelledMessage,
  type ResultMessage,
  refusal,
  refusedMessage,
  resultMessage,
  reusedMessage,
} from "../calls/call-result.ts";
import type { CheckedCall, RefusedCall } from "../calls/checked-call.ts";
import { type LoggedAttempt, type Running, runLogged } from "../running/run-logged.ts";
import { probeTool } from "../running/run-tool.ts";
import type { Claim, RunScope } from "../store/calls.ts";
import { type KnownCall, revisitCalls } from "../store/known-calls.ts";
import { completeProbed, restartProbed } from "../store/probes.ts";
import { Claims } from "./claims.ts";
import { InFlightCall, inFlightKey } from "./in-flight-call.ts";
import { Leases } from "./leases.ts";
import type { OutageWatch } from "./outage-watch.ts";
import { ResultStore } from "./result-store.ts";

/** Milliseconds between looks at a call that another process holds. */
const lookPauses = { firstMs: 25, longestMs: 400 };
/** How long a `once` call goes on without a caller, in leases. */
const abandonLeases = 2;

/**
 * Runs the calls of runs, each once: a call is claimed in the database before it acts, and every request for a claimed
 * call gets the result of that one run. Within this process a request waits for the result. For a call of another
 * process it looks again, after 25 ms growing to 400 ms, until there is a result or the lease of that process has
 * expired. Then a `read` or `idempotent` call is claimed anew. A `once` call is UNKNOWN, unless its tool's probe knows
 * better; each request asks the probe again. A lease that expired while the database was away counts only once its
 * holder has had time to renew it.
 */
export class Ledger {
  readonly #pool: pg.Pool;
  readonly #running: Running;
  readonly #leases: Leases;
  readonly #claims: Claims;
  readonly #results: ResultStore;
  readonly #inFlight = new Map<string, InFlightCall>();
  readonly #outageWatch: OutageWatch;

  constructor(deps: Running & { pool: pg.Pool; leaseMs: number; outageWatch: OutageWatch }) {
    this.#pool = deps.pool;
    this.#outageWatch = deps.outageWatch;
    this.#running = deps;
    this.#leases = new Leases(deps);
    this.#claims = new Claims(deps);
    this.#results = new ResultStore(deps);
  }

  /** The results of one round, in its order. Rejects only when the database does not answer. */
  execute(scope: RunScope, calls: readonly (CheckedCall | RefusedCall)[], signal: AbortSignal): Promise<ResultMessage[]> {
    const fresh: InFlightCall[] = [];
    const results = calls.map((call) => {
      const inFlight = this.#inFlight.get(inFlightKey(scope, call.callId));
      if (inFlight !== undefined) return this.#join(inFlight, scope, call, signal);
      if ("refusal" in call) return this.#recall(scope, call, signal);
      const begun = new InFlightCall(scope, call, this.#leases.leaseMs * abandonLeases);
      this.#inFlight.set(begun.key, begun);
      fresh.push(begun);
      return begun.join(signal);
    });
    if (fresh.length > 0) void this.#begin(scope, fresh);
    return Promise.all(results);
  }

  /** Stops calls of a run in this process, for all of their callers. Resolves when none of them is in flight here. */
  async stop(run: { runId: string; userId: string }, callIds: readonly string[]): Promise<void> {
    const results = callIds.flatMap((callId) => {
      const inFlight = this.#inFlight.get(inFlightKey(run, callId));
      if (inFlight === undefined || inFlight.scope.userId !== run.userId) return [];
      inFlight.cancel(stopped());
      return [inFlight.result];
    });
    await Promise.allSettled(results);
  }

  /** Rejects when this process cannot keep the leases of its calls. */
  ready(): Promise<void> {
    return this.#leases.ready();
  }

  /** Resolves when no call is in flight and every result is stored, or when the limit fires. */
  async drain(limit: AbortSignal): Promise<void> {
    const isOver = new Promise<void>((resolve) => limit.addEventListener("abort", () => resolve(), { once: true }));
    while (this.#inFlight.size > 0 && !limit.aborted) {
      await Promise.race([Promise.allSettled([...this.#inFlight.values()].map(({ result }) => result)), isOver]);
    }
  }

  /** Cancels all calls in flight and waits until their results are stored, for 3 s while the database is away. */
  async close(): Promise<void> {
    this.#results.limitPatience();
    const results = [...this.#inFlight.values()].map((inFlight) => {
      inFlight.cancel(new DOMException("The executor stops.", "AbortError"));
      return inFlight.result;
    });
    await Promise.allSettled(results);
    await this.#results.idle();
  }

  async #join(
    inFlight: InFlightCall,
    scope: RunScope,
    call: CheckedCall | RefusedCall,
    signal: AbortSignal,
  ): Promise<ResultMessage> {
    const { callId } = call;
    if (!inFlight.isSame(scope, call)) return "refusal" in call ? refusal(call) : reusedMessage(callId);
    if (!inFlight.signal.aborted) return inFlight.join(signal);
    // Its callers have gone. The result of a call that was cut off for them is not the one this caller asked for.
    await inFlight.result.catch(() => {});
    const [result] = await this.execute(scope, [call], signal);
    return result ?? refusedMessage(callId, "The call was lost.");
  }

  /** A refused call may have run before, under a grant that has expired since. Then its stored result stands. */
  async #recall(scope: RunScope, call: RefusedCall, signal: AbortSignal): Promise<ResultMessage> {
    const { callId } = call;
    for (const pauses = growingPauses(lookPauses); ; ) {
      const growingMs = pauses.next().value;
      const { isSettled } = this.#outageWatch;
      const options = { takeOver: false, leaseMs: this.#leases.leaseMs, isSettled };
      const known = (await revisitCalls(this.#pool, scope, [call], options)).get(callId);
      if (known === undefined || !known.matches || known.status === "cancelled") return refusal(call);
      if (known.status !== "running") return resultMessage(callId, known);
      if (known.leaseLeftMs <= 0 && isSettled) return refusal(call);
      const pauseMs = known.leaseLeftMs > 0 ? Math.min(growingMs, known.leaseLeftMs) : growingMs;
      if (!(await hasPassed(pauseMs, signal))) return cancelledMessage(callId);
    }
  }

  /** Claims calls of one round and brings each to its end. */
  async #begin(scope: RunScope, inFlight: readonly InFlightCall[]): Promise<void> {
    const giveUp = (one: InFlightCall, error: unknown) => {
      this.#inFlight.delete(one.key);
      one.fail(error);
    };
    try {
      const calls = inFlight.map(({ call }) => call);
      const { claims, refused } = await this.#claims.claim(scope, calls);
      const others = calls.filter(({ callId }) => !claims.has(callId) && !refused.has(callId));
      const known = others.length === 0 ? new Map<string, KnownCall>() : this.#revisit(scope, others);
      for (const one of inFlight) {
        if (refused.has(one.call.callId)) {
          this.#inFlight.delete(one.key);
          one.succeed(refusedMessage(one.call.callId, "The call cannot be recorded."));
          continue;
        }
        const claim = claims.get(one.call.callId);
        // A claimed call must not wait for, or fail with, the look at the others: only its own run can end it.
        const ending = claim === undefined ? this.#finishKnown(one, known) : this.#finish(one, claim);
        ending.then(
          (result) => {
            this.#inFlight.delete(one.key);
            one.succeed(result);
          },
          (error: unknown) => giveUp(one, error),
        );
      }
    } catch (error) {
      for (const one of inFlight) giveUp(one, error);
    }
  }

  async #finishKnown(
    inFlight: InFlightCall,
    known: Map<string, KnownCall> | Promise<Map<string, KnownCall>>,
  ): Promise<ResultMessage> {
    return this.#finish(inFlight, (await known).get(inFlight.call.callId));
  }

  #revisit(scope: RunScope, calls: readonly CheckedCall[]): Promise<Map<string, KnownCall>> {
    return revisitCalls(this.#pool, scope, calls, {
      takeOver: true,
      leaseMs: this.#leases.leaseMs,
      isSettled: this.#outageWatch.isSettled,
    });
  }

  /** Brings a call to its end: runs it where this process holds its claim, else waits for the process that does. */
  async #finish(inFlight: InFlightCall, first: Claim | KnownCall | undefined): Promise<ResultMessage> {
    const { scope, call } = inFlight;
    const { callId } = call;
    let entry = first;
    for (const pauses = growingPauses(lookPauses); ; ) {
      const growingMs = pauses.next().value;
      if (entry === undefined) throw fail(ErrorReason.INTERNAL, "the ledger lost a call");
      if (!("status" in entry) || entry.taken) {
        const result = await this.#run(inFlight, entry);
        if (result !== undefined) return resultMessage(callId, result);
      } else {
        if (entry.isStopped && entry.status === "cancelled") return resultMessage(callId, entry);
        if (!entry.matches) return reusedMessage(callId);
        if (entry.status === "unknown") {
          const probed = await this.#probe(inFlight, entry);
          if (probed === undefined) return resultMessage(callId, entry);
          if (probed !== "moved") {
            entry = probed;
            continue;
          }
        } else {
          // A cancelled call that was not taken here was taken by another process in the same moment.
          const isOver = entry.status !== "running" && entry.status !== "cancelled";
          if (isOver) return resultMessage(callId, entry);
          const expiredMs = this.#outageWatch.isSettled ? lookPauses.firstMs : growingMs;
          const pauseMs = entry.leaseLeftMs > 0 ? Math.min(growingMs, entry.leaseLeftMs) : expiredMs;
          if (!(await hasPassed(pauseMs, inFlight.signal))) return cancelledMessage(callId);
        }
      }
      entry = (await this.#revisit(scope, [call])).get(callId);
    }
  }

  /**
   * Asks the tool about a call with an unknown outcome. Gives the claim under which it runs again, `moved` when its row
   * has changed, nothing when the outcome stays unknown.
   */
  async #probe(inFlight: InFlightCall, known: Claim): Promise<Claim | "moved" | undefined> {
    const found = await probeTool(this.#running, inFlight.call, attemptOf(inFlight));
    switch (found.status) {
      case "unknown":
        return undefined;
      case "completed":
        await completeProbed(this.#pool, known, JSON.stringify(found.output ?? null));
        return "moved";
      case "not_started": {
        const { epoch } = inFlight.scope;
        return (await restartProbed(this.#pool, known, { epoch, leaseMs: this.#leases.leaseMs })) ?? "moved";
      }
      default:
        return found satisfies never;
    }
  }

  /** Runs a claimed call and stores its result; nothing when another process has claimed it since. */
  async #run(inFlight: InFlightCall, { id, claim }: Claim): Promise<CallResult | undefined> {
    const held = { id, claim };
    const release = this.#leases.hold(held, () => inFlight.cancel(stopped()));
    try {
      const result = await runLogged(this.#running, inFlight.call, attemptOf(inFlight));
      const stored = await this.#results.store({ claim: held, result });
      return stored.isStored ? stored.result : undefined;
    } finally {
      release();
    }
  }
}

/** An attempt at a call of a run: the tool sees the same key at each. */
function attemptOf({ scope, call, signal }: InFlightCall): LoggedAttempt {
  const { userId, runId, conversationId } = scope;
  return { userId, runId, conversationId, callKey: `${runId}:${call.callId}`, signal };
}

function stopped(): DOMException {
  return new DOMException("The call was cancelled.", "AbortError");
}

/** Whether the time passed; false when the signal fired first. */
async function hasPassed(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
