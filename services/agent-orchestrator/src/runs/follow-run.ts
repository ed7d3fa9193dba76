import type { CallOptions } from "@connectrpc/connect";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { RunFrame } from "../run-events/frame.ts";
import type { Position } from "../run-events/position.ts";
import { watchRun } from "../run-events/watch-run.ts";
import type { TurnDeps } from "./launch.ts";

/** How a run that somebody else drives left that driver. */
export type FollowedOutcome =
  /** With the frame that says so: the answer as stored, usage and finish reason. */
  { readonly status: "completed"; readonly finish: RunFrame } | { readonly status: "waiting" };

function reasonNamed(name = ""): ErrorReason {
  return ErrorReason[name as keyof typeof ErrorReason] ?? ErrorReason.INTERNAL;
}

/**
 * Watches a run from its beginning, or from a position, until it is answered or next waits for a person, and gives its
 * frames on the way. So a message that is sent twice under one key gets the same answer twice. Throws why the run
 * failed.
 */
export async function* followRun(
  deps: TurnDeps,
  asked: { runId: string; from?: Position; options: CallOptions; signal: AbortSignal },
): AsyncGenerator<RunFrame, FollowedOutcome> {
  const { runId, from, options, signal } = asked;
  let last: RunInfo | undefined;
  let isWaiting = false;
  for await (const { frame, run } of watchRun(deps, { runId, from, options: () => options, signal })) {
    last = run;
    // The last of the calls that wait has the position of the entry itself.
    if (frame.type === "pending_approval" && !frame.eventId?.includes(".")) isWaiting = true;
    if (frame.type === "finish") return { status: "completed", finish: frame };
    if (frame.type === "failed") throw fail(reasonNamed(frame.errorReason), frame.error ?? "The run failed.");
    if (frame.type === "cancelled") throw fail(ErrorReason.RUN_CANCELLED, "The run was cancelled.");
    if (frame.type === "needs_review") {
      throw fail(ErrorReason.TOOL_FAILED, "Nobody knows whether a tool took effect; a person must look.");
    }
    yield frame;
    if (isWaiting) return { status: "waiting" };
  }
  signal.throwIfAborted();
  throw fail(ErrorReason.INTERNAL, `the run ended as ${last?.status} without saying so`);
}
