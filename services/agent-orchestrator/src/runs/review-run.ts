import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { SettleCallsRequestSchema } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { versionFields } from "../graph/versions.ts";
import { detached } from "./caller.ts";
import type { RunDeps } from "./launch.ts";
import { resumeClaimed } from "./take-over.ts";

/** The outcomes of calls as a person found them. */
export type SettledCalls = Exclude<MessageInitShape<typeof SettleCallsRequestSchema>, { $typeName: string }>["calls"];

/**
 * Resumes a run whose calls a person has settled, as its starter. A run of a graph version that this process does not
 * drive is left to another worker.
 */
async function resumeReviewed(deps: RunDeps, ctx: HandlerContext, runId: string): Promise<void> {
  const request = { runId, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { context } = await deps.journal.resumeRun(request, detached(ctx));
  if (context !== undefined) await resumeClaimed(deps, ctx, context);
}

/** Settles calls of unknown outcome, and resumes their run when they were the last ones. */
export async function settleReview(
  deps: RunDeps,
  ctx: HandlerContext,
  { runId, calls, isComplete }: { runId: string; calls: SettledCalls; isComplete: boolean },
): Promise<void> {
  try {
    await deps.executions.settleCalls({ runId, calls }, detached(ctx));
  } catch (error) {
    // An earlier review settled the calls and failed before it resumed the run: its outcomes stand, and the run must
    // not wait for a third review.
    if (reasonOf(error) === ErrorReason.CONFLICT && isComplete) await resumeReviewed(deps, ctx, runId);
    throw error;
  }
  if (isComplete) await resumeReviewed(deps, ctx, runId);
}
