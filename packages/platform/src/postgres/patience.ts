import { retrying } from "../async/retrying.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";

/**
 * What `work` resolves to; repeated for `patienceMs` (10,000) while the database does not answer. `work` must be safe to
 * repeat.
 */
export function untilDatabaseAnswers<T>(logger: Logger, work: () => Promise<T>, patienceMs = 10_000): Promise<T> {
  return retrying(work, {
    patienceMs,
    mayPass: (error) => reasonOf(error) === ErrorReason.DATABASE_UNAVAILABLE,
    onRetry: (error) => logger.warn({ err: error }, "the database does not answer; trying again"),
  });
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
