import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ReviewRunRequest, RunService } from "@turnwright/contract/agent/v1/run_service";
import { Role } from "@turnwright/contract/auth/v1/identity";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import { parsePosition } from "../run-events/position.ts";
import { publicEvent } from "../run-events/public-event.ts";
import { watchRun } from "../run-events/watch-run.ts";
import { detached } from "../runs/caller.ts";
import { cancelRun } from "../runs/cancel-run.ts";
import { cancelRuns } from "../runs/cancel-runs.ts";
import type { RunDeps } from "../runs/launch.ts";
import { retryRun } from "../runs/retry-run.ts";
import { type SettledCalls, settleReview } from "../runs/review-run.ts";
import { startRun } from "../runs/start-run.ts";
import { isAtRest, waitForRun } from "../runs/wait-for-run.ts";
import { givenJson } from "./given-json.ts";

const defaultWaitSeconds = 25;

function asJson(value: Value | undefined, param: string): JsonValue | undefined {
  try {
    return value && toJson(ValueSchema, value);
  } catch (cause) {
    throw fail(ErrorReason.INVALID_REQUEST, `${param}: has a value that JSON cannot express`, { param, cause });
  }
}

/**
 * The outcomes that a reviewer gives for calls; takes each call out of `open`. Throws INVALID_REQUEST for a call that
 * is not open.
 */
function parseSettled(calls: ReviewRunRequest["calls"], open: Set<string>): SettledCalls {
  return calls.map(({ callId, outcome, output, outputJson: text }, index) => {
    const field = `calls[${index}]`;
    const refuse = (name: string, problem: string) =>
      fail(ErrorReason.INVALID_REQUEST, `${field}.${name}: ${problem}`, { param: `${field}.${name}` });
    const json = givenJson(`${field}.output`, { text, value: asJson(output, `${field}.output`) });
    if (!open.delete(callId)) throw refuse("call_id", "no such call is open, or it is named twice");
    if (outcome === "completed") return { callId, outcome: { case: "completed" as const, value: json || "null" } };
    if (json !== "") throw refuse("output", "not allowed for a call that was not done");
    return { callId, outcome: { case: "notDone" as const, value: {} } };
  });
}

/** Handlers of RunService: runs as resources. */
export function runHandlers(
  deps: RunDeps & { readonly conversations: Client<typeof ConversationService> },
): ServiceImpl<typeof RunService> {
  const runOf = async (ctx: HandlerContext, runId: string): Promise<RunInfo> => {
    const { run } = await deps.conversations.getRun({ runId }, forward(ctx, { timeoutMs: 15_000 }));
    if (run === undefined) throw fail(ErrorReason.INTERNAL, "the conversation service returned no run");
    return run;
  };

  return {
    async createRun(request, ctx) {
      const { runId } = await startRun(deps, ctx, { ...request, background: true });
      return { run: await runOf(ctx, runId) };
    },

    async retryRun({ runId }, ctx) {
      const retried = await retryRun(deps, ctx, runId);
      return { run: await runOf(ctx, retried.runId) };
    },

    async waitRun({ runId, timeoutSeconds = defaultWaitSeconds }, ctx) {
      const run = await runOf(ctx, runId);
      if (isAtRest(run)) return { run };
      await waitForRun(deps, ctx, run, timeoutSeconds);
      return { run: await runOf(ctx, runId) };
    },

    async cancelRun({ runId }, ctx) {
      await cancelRun(deps, { runId, reason: "user", options: detached(ctx) });
      return { run: await runOf(ctx, runId) };
    },

    async cancelRuns({ ids }, ctx) {
      return { results: await cancelRuns(deps, ctx, ids) };
    },

    async reviewRun({ runId, calls }, ctx) {
      if (requireIdentity(ctx).role === Role.AGENT)
        throw fail(ErrorReason.PERMISSION_DENIED, "An account with the role agent cannot review runs.");
      const run = await runOf(ctx, runId);
      // Checked before the executor stores anything: the executor does not know the run's starter.
      await deps.journal.checkDecider({ runId }, forward(ctx, { timeoutMs: 15_000 }));
      if (run.status !== "needs_review") throw fail(ErrorReason.NOTHING_TO_REVIEW, "This run does not wait for a review.");
      const open = new Set(run.unsettledCalls.map((call) => call.id));
      const settled = parseSettled(calls, open);
      await settleReview(deps, ctx, { runId, calls: settled, isComplete: open.size === 0 });
      return { run: await runOf(ctx, runId) };
    },

    async *streamRunEvents({ runId, after, contentLimit }, ctx) {
      const from = after === "" ? undefined : parsePosition(after);
      const watch = { ...deps.readers.of(ctx), runId, from, signal: ctx.signal };
      const form = { contentLimit, defaultModel: deps.defaultModel };
      for await (const { frame } of watchRun(deps, watch)) yield publicEvent(frame, form);
    },
  };
}
