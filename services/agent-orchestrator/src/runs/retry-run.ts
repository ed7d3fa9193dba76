import { createHash } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/rpc/forward";
import type { RunDeps } from "./launch.ts";
import type { RunHandle } from "./run-handle.ts";
import { startRun } from "./start-run.ts";

/**
 * The id of the run that a run is retried as: always the same, so that requests at the same time, in any process, start
 * one run. A UUIDv7 with the time of the old one.
 */
export function retryIdOf(runId: string): string {
  const time = runId.toLowerCase().slice(0, 13);
  const hash = createHash("sha256").update(`retry ${runId.toLowerCase()}`).digest();
  hash.writeUInt8((hash.readUInt8(0) & 0x0f) | 0x70, 0);
  hash.writeUInt8((hash.readUInt8(2) & 0x3f) | 0x80, 2);
  const hex = hash.toString("hex");
  return `${time}-${hex.slice(0, 4)}-${hex.slice(4, 8)}-${hex.slice(8, 20)}`;
}

/**
 * Sends the message of a failed or cancelled run again, as a background run of the caller. Throws the journal's
 * reasons; RUN_NOT_RETRYABLE also when the run has been retried under another idempotency key.
 */
export async function retryRun(deps: RunDeps, ctx: HandlerContext, runId: string): Promise<RunHandle> {
  const retry = { of: runId.toLowerCase(), runId: retryIdOf(runId) };
  const request = { runId, retryId: retry.runId };
  const { $typeName: _, ...message } = await deps.journal.readRetry(request, forward(ctx, { timeoutMs: 15_000 }));
  try {
    return await startRun(deps, ctx, { ...message, concurrency: "reject", background: true, retry });
  } catch (error) {
    if (reasonOf(error) !== ErrorReason.CONFLICT) throw error;
    throw fail(ErrorReason.RUN_NOT_RETRYABLE, "This run has been retried.", { param: "run_id", cause: error });
  }
}
