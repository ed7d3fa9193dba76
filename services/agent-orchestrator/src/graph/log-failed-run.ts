import { detailOf, ErrorReason, mappingOf, reasonName, reasonOf } from "@turnwright/platform/errors";
import { upstreamStatusOf } from "../model/endpoint/model-error.ts";
import { isEndpointFailure } from "../model-calls/failure-fields.ts";
import type { GraphDeps } from "./driven-run.ts";
import { failureText } from "./failure.ts";

/** The facts about a run that its log lines have. */
interface LoggedRun {
  /** UUID. */
  readonly runId: string;
  /** UUID. */
  readonly conversationId: string;
  /** Public name of the model; empty: not settled yet. */
  readonly model: string;
}

/** Reasons for which a run leaves this process without having failed. */
const hasLeft: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.RUN_CANCELLED,
  ErrorReason.RUN_HANDED_OVER,
  ErrorReason.STALE_EPOCH,
  ErrorReason.CANCELLED,
]);

/** Fields of a failure beside its reason and cause. The words of a model's endpoint stand in the line of the call. */
function fieldsOf({ runId, conversationId, model }: LoggedRun, error: unknown) {
  const isUnexpected = detailOf(error) === undefined && reasonOf(error) === ErrorReason.INTERNAL;
  return {
    run_id: runId,
    conversation_id: conversationId,
    model: model || undefined,
    status: upstreamStatusOf(error),
    error: isEndpointFailure(error) ? undefined : failureText(error),
    err: isUnexpected ? error : undefined,
  };
}

/**
 * Logs that a run failed, once: as a warning with its cause, or as information when it was cancelled, handed over, or
 * ended by a mistake or a limit of its user.
 */
export function logFailedRun({ logger, failures }: Pick<GraphDeps, "logger" | "failures">, run: LoggedRun, error: unknown): void {
  const reason = reasonOf(error);
  const fields = () => fieldsOf(run, error);
  if (hasLeft.has(reason)) {
    // Runs that are handed over are told together.
    const level = reason === ErrorReason.RUN_HANDED_OVER ? "debug" : "info";
    logger[level](
      { run_id: run.runId, conversation_id: run.conversationId, reason: reasonName(reason) },
      "run left this process",
    );
  } else if (mappingOf(reason).httpStatus < 500 && !isEndpointFailure(error)) {
    logger.info({ reason: reasonName(reason), ...fields() }, "run failed");
  } else failures.warn({ message: "run failed", subject: [run.model], error, fields });
}

/** Logs that a background run waits after a failure. One of a model was logged with its call. */
export function logDelayedRun(
  { logger, failures }: Pick<GraphDeps, "logger" | "failures">,
  run: LoggedRun,
  { error, inMs }: { readonly error: unknown; readonly inMs: number },
): void {
  const fields = () => ({ ...fieldsOf(run, error), in_ms: inMs });
  const message = "run goes on later";
  if (isEndpointFailure(error)) logger.info({ reason: reasonName(reasonOf(error)), ...fields() }, message);
  else failures.warn({ message, subject: [run.model], error, fields });
}
