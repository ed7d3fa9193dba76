import { ErrorReason, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";

/**
 * Makes a callback for a timer or an event out of work that may fail. The callback never throws and leaves no rejection
 * unhandled, either of which could end the process and with it everybody's work; a failure is logged under `step`, as a
 * warning when another part is away.
 */
export function guarded(logger: Logger, step: string, work: () => unknown): () => void {
  const onFailure = (error: unknown) => {
    const level = reasonOf(error) === ErrorReason.INTERNAL ? "error" : "warn";
    logger[level]({ err: error, step }, "background work failed");
  };
  return () => {
    try {
      const working = work();
      if (working instanceof Promise) working.catch(onFailure);
    } catch (error) {
      onFailure(error);
    }
  };
}
