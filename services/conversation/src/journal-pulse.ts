import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { recentRefusal } from "@turnwright/platform/postgres/database-health";
import { hedged } from "@turnwright/platform/postgres/patience";
import type pg from "pg";
import { recordPulse } from "./store/claims/journal-pulse.ts";

const intervalMs = 500;
const timeoutMs = 2_000;
/** Pause after a failed pulse. */
const retryMs = 250;
const freshMs = 3_000;

/** This process's pulse: proof that the journal can receive heartbeats. */
interface JournalPulse {
  /**
   * Rejects when the last pulse failed, when there has been none so far or for 3 s, and while the database refuses
   * other statements because it lacks something.
   */
  ready(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts to record twice a second, in the database, that the journal can receive heartbeats. While no process does,
 * missed heartbeats do not count, and after such a gap every worker has some time to be heard again. `endsWithWorkers`:
 * all workers of this journal ended with the process before this one, so the time between the two counts as no gap.
 */
export function startJournalPulse(deps: { pool: pg.Pool; logger: Logger; endsWithWorkers: boolean }): JournalPulse {
  const { pool, logger } = deps;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  let goesOn = deps.endsWithWorkers;
  let takenAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.POSITIVE_INFINITY;
  let fault: unknown;
  const pulse = async (): Promise<void> => {
    askedAt = performance.now();
    try {
      await hedged((signal) => recordPulse(pool, { goesOn, timeoutMs, signal }));
      goesOn = false;
      takenAt = performance.now();
      fault = undefined;
    } catch (error) {
      if (fault === undefined) logger.warn({ err: error }, "the journal's pulse could not be written");
      fault = error;
    }
    askedAt = Number.POSITIVE_INFINITY;
    if (!isOver) timer = setTimeout(next, fault === undefined ? intervalMs : retryMs).unref();
  };
  let pulsing = pulse();
  function next(): void {
    pulsing = pulse();
  }
  return {
    async ready() {
      if (takenAt === Number.NEGATIVE_INFINITY) await pulsing;
      if (fault !== undefined) throw fault;
      const refusal = recentRefusal(pool);
      if (refusal !== undefined) throw refusal;
      const now = performance.now();
      if (now - askedAt > freshMs) throw fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer");
      // No pulse is in flight: this process itself stood still.
      if (now - takenAt > freshMs) throw fail(ErrorReason.UNAVAILABLE, "the journal had no pulse for a while");
    },
    async stop() {
      isOver = true;
      clearTimeout(timer);
      await pulsing;
    },
  };
}
