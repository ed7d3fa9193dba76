import type { Client, HandlerContext } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import type { Bus } from "@turnwright/platform/ports/bus";
import { forward } from "@turnwright/platform/rpc/forward";
import { parsePosition } from "../run-events/position.ts";
import { isEnded, watchRun } from "../run-events/watch-run.ts";

/** Whether a run has ended or needs a person to go on. */
export function isAtRest(run: RunInfo): boolean {
  return isEnded(run) || run.status === "waiting" || run.status === "needs_review";
}

/** Resolves when a run is at rest, or after this many seconds. Rejects when the caller leaves. */
export async function waitForRun(
  deps: { journal: Client<typeof JournalService>; bus: Bus },
  ctx: HandlerContext,
  run: RunInfo,
  timeoutSeconds: number,
): Promise<void> {
  const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(timeoutSeconds * 1_000)]);
  const watch = { runId: run.id, from: parsePosition(run.lastEventId), options: () => forward(ctx), signal };
  try {
    for await (const seen of watchRun(deps, watch)) if (isAtRest(seen.run)) break;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  ctx.signal.throwIfAborted();
}
