import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExecutionResultSchema } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { RefusedCall } from "./checked-call.ts";

/** How a call ended. A timeout is a failure like any other: the tool had its chance. */
export interface CallResult {
  /** `unknown`: a `once` call was cut off after it had begun. */
  readonly status: "success" | "failed" | "cancelled" | "unknown";
  /** JSON text; null unless the call succeeded. */
  readonly output: string | null;
  /** Text for the model and the user; null if the call succeeded. */
  readonly error: string | null;
  readonly durationMs: number;
  /** False: it ended before the tool was called. */
  readonly began: boolean;
  /** The reason a direct caller gets, unless `cause` has one of its own. Not stored. */
  readonly reason?: ErrorReason;
  /** The value that the tool threw. Not stored. */
  readonly cause?: unknown;
}

/** The error of a call that was cancelled in time. */
export const neverBegan = "The call was cancelled before it began.";

/** A result as it goes back to the caller. */
export type ResultMessage = MessageInitShape<typeof ExecutionResultSchema>;

const statuses: Readonly<Record<CallResult["status"], ExecutionStatus>> = {
  success: ExecutionStatus.SUCCESS,
  failed: ExecutionStatus.FAILED,
  cancelled: ExecutionStatus.CANCELLED,
  unknown: ExecutionStatus.UNKNOWN,
};

/** The message of a fresh or stored result. Throws INTERNAL for a call that still runs. */
export function resultMessage(
  callId: string,
  result: Pick<CallResult, "output" | "error" | "durationMs"> & { readonly status: CallResult["status"] | "running" },
): ResultMessage {
  if (result.status === "running") throw fail(ErrorReason.INTERNAL, "a running call has no result");
  return {
    callId,
    status: statuses[result.status],
    output: result.output ?? "",
    error: result.error ?? "",
    durationMs: result.durationMs,
  };
}

/** The message of a call that did not run. */
export function refusedMessage(callId: string, error: string): ResultMessage {
  return { callId, status: ExecutionStatus.REFUSED, error };
}

/** The message of a call that may not run. */
export function refusal({ callId, refusal: error, unapprovedVersion }: RefusedCall): ResultMessage {
  return { ...refusedMessage(callId, error), unapprovedVersion: unapprovedVersion ?? "" };
}

/** The message of a call whose id belongs to another call of the run. */
export function reusedMessage(callId: string): ResultMessage {
  return refusedMessage(callId, "The id of this call was used for another call of the same run.");
}

/** The message of a call that its callers left before it began. */
export function cancelledMessage(callId: string): ResultMessage {
  return { callId, status: ExecutionStatus.CANCELLED, error: neverBegan };
}
