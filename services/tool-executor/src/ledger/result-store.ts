import { Batch } from "@turnwright/platform/async/batch";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { isDataRefused } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import type { CallResult } from "../calls/call-result.ts";
import { type FinishedCall, finishCalls } from "../store/calls.ts";

/** How long a result waits for the database: as long as a run's commit does. */
const patienceMs = 60_000;
/** The same when this process ends. */
const lastPatienceMs = 3_000;
/** The longest duration that the ledger holds, in milliseconds. */
const longestMs = 2_147_483_647;
const pauses = { firstMs: 50, longestMs: 1_000 };
const away: ReadonlySet<ErrorReason> = new Set([ErrorReason.DATABASE_UNAVAILABLE, ErrorReason.DEADLINE_EXCEEDED]);

/** Stores the results of calls, many with one statement. */
export class ResultStore {
  readonly #logger: Logger;
  readonly #finished: Batch<FinishedCall, boolean>;
  /** When waiting for the database ends, by the clock of this process. */
  #storesUntil = Number.POSITIVE_INFINITY;

  constructor(deps: { pool: pg.Pool; logger: Logger }) {
    this.#logger = deps.logger;
    this.#finished = new Batch({ flush: (calls) => finishCalls(deps.pool, calls), blamesItem: isDataRefused });
  }

  /**
   * Stores a result; not when its claim is not valid any more, as after a person settled the call. While the database
   * is away the result waits, and everybody who asks for the call waits with it: this process holds the only copy. For
   * a result that the database refuses for good, the call's end is stored without it; otherwise the call would run
   * again.
   */
  async store(finished: FinishedCall): Promise<{ readonly isStored: boolean; readonly result: CallResult }> {
    try {
      return { isStored: await this.#store(finished), result: finished.result };
    } catch (error) {
      if (!isDataRefused(error)) throw error;
      const { claim, result } = finished;
      this.#logger.error({ err: error, execution_id: claim.id, status: result.status }, "result of a call cannot be stored");
      const bare: CallResult = {
        status: result.status === "success" ? "failed" : result.status,
        output: null,
        error: "The call has ended, but its result cannot be stored.",
        durationMs: Math.min(Math.max(0, Math.round(result.durationMs) || 0), longestMs),
        began: result.began,
        reason: ErrorReason.TOOL_FAILED,
      };
      return { isStored: await this.#store({ claim, result: bare }), result: bare };
    }
  }

  #store(finished: FinishedCall): Promise<boolean> {
    const until = performance.now() + patienceMs;
    return retrying(() => this.#finished.add(finished), {
      ...pauses,
      mayPass: (error) => away.has(reasonOf(error)),
      patienceMs: () => Math.min(until, this.#storesUntil) - performance.now(),
      onRetry: (error, attempts) => {
        if (attempts === 1) this.#logger.warn({ err: error }, "result of a call not stored yet");
      },
    });
  }

  /** From now on results wait for the database for 3 s at most. */
  limitPatience(): void {
    this.#storesUntil = performance.now() + lastPatienceMs;
  }

  /** Resolves when no result is being stored. */
  idle(): Promise<void> {
    return this.#finished.idle();
  }
}
