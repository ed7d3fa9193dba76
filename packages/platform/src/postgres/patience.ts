import { setTimeout as delay } from "node:timers/promises";
import { ErrorReason, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";

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

const hedgeMs = 600;
const hedgeTries = 3;

/**
 * What the first attempt of `work` to succeed resolves to; it must be one that may be done twice at once. Another attempt, of three, is begun when one fails because
 * the database does not answer, or is not answered within `afterMs` (600): the network may have lost it, which its own time-out tells much later. Rejects with
 * what the last attempt rejects with, or with any other failure at once.
 */
export function hedged<T>(work: () => Promise<T>, afterMs = hedgeMs): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let begun = 0;
  let underWay = 0;
  let timer: NodeJS.Timeout | undefined;
  const settle = (end: () => void) => {
    clearTimeout(timer);
    begun = hedgeTries;
    end();
  };
  const attempt = (): void => {
    clearTimeout(timer);
    begun += 1;
    underWay += 1;
    if (begun < hedgeTries) timer = setTimeout(attempt, afterMs);
    work().then(
      (answer) => settle(() => resolve(answer)),
      (error: unknown) => {
        underWay -= 1;
        if (reasonOf(error) !== ErrorReason.DATABASE_UNAVAILABLE) settle(() => reject(error));
        else if (begun < hedgeTries) attempt();
        else if (underWay === 0) reject(error);
      },
    );
  };
  attempt();
  return promise;
}
