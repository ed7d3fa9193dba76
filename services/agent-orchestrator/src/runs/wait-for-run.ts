import type { HandlerContext } from "@connectrpc/connect";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { parsePosition } from "../run-events/position.ts";
import { isEnded, watchRun } from "../run-events/watch-run.ts";
import type { RunDeps } from "./launch.ts";

/** Whether a run has ended or needs a person to go on. */
export function isAtRest(run: Pick<RunInfo, "status">): boolean {
  return isEnded(run) || run.status === "waiting" || run.status === "needs_review";
}

/** Resolves when a run is at rest, or after this many seconds. Rejects when the caller leaves. */
export async function waitForRun(
  deps: Pick<RunDeps, "watches" | "readers">,
  ctx: HandlerContext,
  run: RunInfo,
  timeoutSeconds: number,
): Promise<void> {
  const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(timeoutSeconds * 1_000)]);
  const watch = { ...deps.readers.of(ctx), runId: run.id, from: parsePosition(run.lastEventId), signal };
  try {
    for await (const seen of watchRun(deps, watch)) if (isAtRest(seen)) break;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  ctx.signal.throwIfAborted();
}
