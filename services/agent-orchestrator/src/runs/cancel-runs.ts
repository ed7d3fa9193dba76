import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { type CancelRunResult, CancelRunResultSchema } from "@turnwright/contract/agent/v1/run_service";
import { ErrorReason, reasonName, reasonOf } from "@turnwright/platform/errors";
import { failureText } from "../graph/failure.ts";
import { detached } from "./caller.ts";
import { type CancelDeps, cancelRun } from "./cancel-run.ts";

/** The most runs of one request that are cancelled at a time: each reads its messages and asks the executors. */
const maxAtOnce = 4;

/** Reasons that lie in the run. All others are worth a line in the log. */
const ofRun: ReadonlySet<ErrorReason> = new Set([ErrorReason.NOT_FOUND, ErrorReason.RUN_ENDED]);

async function resultFor(deps: CancelDeps, ctx: HandlerContext, runId: string): Promise<CancelRunResult> {
  try {
    const receipts = await cancelRun(deps, { runId, reason: "user", options: detached(ctx) });
    return create(CancelRunResultSchema, { runId, cancelled: true, receipts });
  } catch (error) {
    const reason = reasonOf(error);
    if (!ofRun.has(reason)) deps.logger.warn({ err: error, run_id: runId }, "run was not cancelled");
    const errorReason = reasonName(reason).replace(/^ERROR_REASON_/, "");
    return create(CancelRunResultSchema, { runId, errorReason, error: failureText(error) });
  }
}

/**
 * Cancels a caller's runs, a few at a time; the results are in the runs' order. Runs that have not been begun with when
 * the caller leaves stay as they are. Throws the signal's reason then.
 */
export async function cancelRuns(deps: CancelDeps, ctx: HandlerContext, runIds: readonly string[]): Promise<CancelRunResult[]> {
  const results: CancelRunResult[] = [];
  const left = [...runIds.entries()].values();
  const cancelNext = async () => {
    for (const [index, runId] of left) {
      ctx.signal.throwIfAborted();
      results[index] = await resultFor(deps, ctx, runId);
    }
  };
  await Promise.all(Array.from({ length: maxAtOnce }, cancelNext));
  return results;
}
