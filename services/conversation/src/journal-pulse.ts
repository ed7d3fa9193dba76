import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { hedged } from "@turnwright/platform/postgres/patience";
import type pg from "pg";
import { notePulse } from "./store/claims/journal-pulse.ts";

const intervalMs = 500;
const timeoutMs = 2_000;
/** After one that failed. */
const retryMs = 250;
const freshMs = 3_000;

/** The signs of life of this process in the journal. */
interface JournalPulse {
  /** Rejects when the last one was not taken, or there is none yet or for 3 s. */
  ready(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Says twice a second, in the database, that workers could be heard: while nobody does, no silence counts, and everybody has some time to be heard of
 * once somebody does again. `endsWithWorkers`: what drove runs through this journal ended with the process before it, so the time between the two is no
 * outage for anybody.
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
      await hedged(() => notePulse(pool, { goesOn, timeoutMs }));
      goesOn = false;
      takenAt = performance.now();
      fault = undefined;
    } catch (error) {
      if (fault === undefined) logger.warn({ err: error }, "the journal's pulse was not taken");
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
      const now = performance.now();
      if (now - askedAt > freshMs) throw fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer");
      // It was not asked: this process stood still.
      if (now - takenAt > freshMs) throw fail(ErrorReason.UNAVAILABLE, "the journal had no pulse for a while");
    },
    async stop() {
      isOver = true;
      clearTimeout(timer);
      await pulsing;
    },
  };
}
