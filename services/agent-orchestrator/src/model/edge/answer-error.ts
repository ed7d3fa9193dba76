import { ErrorReason, fail } from "@turnwright/platform/errors";
import { errorFromBody, holdsError } from "../endpoint/model-error.ts";
import { isFields } from "./answer-text.ts";

/** Whether a choice of an answer ended in an error that it does not describe. */
function endsInError(value: unknown): boolean {
  if (!isFields(value) || !Array.isArray(value.choices)) return false;
  return value.choices.some((choice) => isFields(choice) && choice.finish_reason === "error");
}

/**
 * The error that an answer or a chunk of one holds, in whichever form; undefined when it holds none. `isError`: it came
 * as the event `error`, so that all of it is one.
 */
export function errorIn(value: unknown, isError = false): Error | undefined {
  if (isError || holdsError(value)) return errorFromBody(value);
  return endsInError(value) ? fail(ErrorReason.MODEL_FAILED, "The model failed while it answered.") : undefined;
}

/** An error as the failure of a model: whatever an answer did to its reader, it is the answer that cannot be read. */
export function asModelFailure(error: unknown): unknown {
  const isOurs = error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError;
  return isOurs ? fail(ErrorReason.MODEL_FAILED, "The model's answer cannot be read.", { cause: error }) : error;
}
