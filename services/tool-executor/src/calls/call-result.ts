import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExecutionResultSchema } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Outcome } from "../running/run-tool.ts";
import { type CallEnd, type KnownCall, neverBegan } from "../store/calls.ts";

/** How a call ended, as it goes back to the caller. */
export type Result = MessageInitShape<typeof ExecutionResultSchema>;

/** How an attempt is written down. A timeout is a failure like others: the tool had its chance. */
export function endOf(outcome: Outcome): CallEnd {
  const { durationMs } = outcome;
  switch (outcome.kind) {
    case "success":
      return { status: "success", output: outcome.output, error: null, durationMs, began: true };
    case "failed":
    case "timeout":
      return { status: "failed", output: null, error: outcome.error, durationMs, began: true };
    case "cancelled":
    case "unknown":
      return { status: outcome.kind, output: null, error: outcome.error, durationMs, began: outcome.began };
    default:
      return outcome satisfies never;
  }
}

const statuses: Readonly<Record<CallEnd["status"], ExecutionStatus>> = {
  success: ExecutionStatus.SUCCESS,
  failed: ExecutionStatus.FAILED,
  cancelled: ExecutionStatus.CANCELLED,
  unknown: ExecutionStatus.UNKNOWN,
};

/** A stored or fresh end as a result. */
export function resultOf(callId: string, end: Pick<KnownCall, "status" | "output" | "error" | "durationMs">): Result {
  if (end.status === "running") throw fail(ErrorReason.INTERNAL, "a running call has no result");
  return {
    callId,
    status: statuses[end.status],
    output: end.output ?? "",
    error: end.error ?? "",
    durationMs: end.durationMs,
  };
}

/** The result of a call that did not run. */
export function refused(callId: string, error: string): Result {
  return { callId, status: ExecutionStatus.REFUSED, error };
}

/** The result of a call whose id stands for another one. */
export function reused(callId: string): Result {
  return refused(callId, "The id of this call was used for another call of the same run.");
}

/** The result of a call that its callers have left. */
export function cancelled(callId: string): Result {
  return { callId, status: ExecutionStatus.CANCELLED, error: neverBegan };
}
