import { retrying } from "../async/retrying.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";

/**
 * Runs `work`, and again for `patienceMs` (10,000) while the database does not answer. `work` must be safe to repeat.
 * The first failure is logged, in one line without a stack. `isLasting` recognises failures that a wait cannot mend.
 */
export function untilDatabaseAnswers<T>(
  logger: Logger,
  work: () => Promise<T>,
  options: {
    patienceMs?: number;
    isLasting?: (error: unknown) => boolean;
    /** The cause for the log; unless given, the message of the innermost error. */
    explain?: (error: unknown) => string | undefined;
  } = {},
): Promise<T> {
  const { patienceMs = 10_000, isLasting = () => false, explain = () => undefined } = options;
  return retrying(work, {
    patienceMs,
    mayPass: (error) => reasonOf(error) === ErrorReason.DATABASE_UNAVAILABLE && !isLasting(error),
    onRetry: (error, attempts) => {
      const cause = explain(error) ?? causeOf(error);
      if (attempts === 1) logger.warn({ cause, patience_ms: patienceMs }, "the database does not answer; trying again");
      else logger.debug({ cause, attempts }, "the database does not answer yet");
    },
  });
}

/** The words of the innermost error. */
function causeOf(error: unknown): string {
  let cause = error;
  for (let depth = 0; depth < 8 && cause instanceof Error && cause.cause instanceof Error; depth++) cause = cause.cause;
  return cause instanceof Error ? cause.message || String((cause as { code?: unknown }).code) : String(cause);
}

const hedgeMs = 600;
const hedgeTries = 3;
/**
 * Overlapping attempts of a process: each holds a connection, and a statement that waits for a lock gains nothing from
 * a second one.
 */
const mostExtras = 4;
let extras = 0;

/**
 * Runs `work` with up to three overlapping attempts and resolves to the first success; `work` must be safe to run twice
 * concurrently. Another attempt begins when one fails because the database does not answer, or after `afterMs` (600)
 * without a result: the network may have lost it, and its own timeout fires much later. At most four attempts of the
 * process overlap an earlier one. The signal of an attempt aborts when another has answered, so that its statement can
 * be cancelled. Rejects with the failure of the last attempt, or at once with any other failure.
 */
export function hedged<T>(work: (signal: AbortSignal) => Promise<T>, afterMs = hedgeMs): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const isSettled = new AbortController();
  let begun = 0;
  let underWay = 0;
  let timer: NodeJS.Timeout | undefined;
  const settle = (end: () => void) => {
    clearTimeout(timer);
    begun = hedgeTries;
    end();
    if (underWay > 0) isSettled.abort();
  };
  const hedge = (): void => {
    if (extras < mostExtras) attempt();
    else timer = setTimeout(hedge, afterMs);
  };
  const attempt = (): void => {
    clearTimeout(timer);
    const isExtra = underWay > 0;
    begun += 1;
    underWay += 1;
    if (isExtra) extras += 1;
    if (begun < hedgeTries) timer = setTimeout(hedge, afterMs);
    const ended = () => {
      underWay -= 1;
      if (isExtra) extras -= 1;
    };
    // A throw in the timer would end the process.
    new Promise<T>((begin) => begin(work(isSettled.signal))).then(
      (answer) => {
        ended();
        settle(() => resolve(answer));
      },
      (error: unknown) => {
        ended();
        if (reasonOf(error) !== ErrorReason.DATABASE_UNAVAILABLE) settle(() => reject(error));
        else if (begun < hedgeTries) attempt();
        else if (underWay === 0) {
          clearTimeout(timer);
          reject(error);
        }
      },
    );
  };
  attempt();
  return promise;
}
