import { setTimeout as delay } from "node:timers/promises";
import { ErrorReason, reasonOf } from "./errors.ts";
import type { Logger } from "./logger.ts";

const longestPauseMs = 1_000;

/** What `work` resolves to; tried again for `patienceMs` (10,000) while it rejects because the database does not answer. It must be one that may be repeated. */
export async function untilDatabaseAnswers<T>(logger: Logger, work: () => Promise<T>, patienceMs = 10_000): Promise<T> {
  const until = performance.now() + patienceMs;
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await work();
    } catch (error) {
      if (reasonOf(error) !== ErrorReason.DATABASE_UNAVAILABLE || performance.now() + pauseMs > until) throw error;
      logger.warn({ err: error }, "the database does not answer; trying again");
      await delay(pauseMs);
    }
  }
}
