import { randomUUID } from "node:crypto";
import type { Client, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { TrialService } from "@turnwright/contract/agent/v1/trial_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { ExecutionResult } from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus } from "@turnwright/contract/tool/v1/tool";
import { cutText, ErrorReason, fail } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/rpc/forward";
import type { TrialCall } from "../graph/state.ts";
import { answerOf } from "../runs/follow-run.ts";
import type { RunDeps } from "../runs/launch.ts";
import { startRun } from "../runs/start-run.ts";
import { givenObject } from "./given-json.ts";

type TrialDeps = RunDeps & { readonly conversations: Client<typeof ConversationService> };

const options = (ctx: HandlerContext) => forward(ctx, { timeoutMs: 15_000 });
/** Characters of the arguments in the message of a trial; the call itself has all of them. */
const shownArguments = 1_000;

/** How long the executor may take beside the tool's own time, in milliseconds: for a slot, and to end the call. */
const besideMs = 60_000;

/** Runs a call that needs no approval. Undefined when its tool has come to need one. */
async function runNow(
  deps: TrialDeps,
  ctx: HandlerContext,
  call: TrialCall,
  toolMs: number,
): Promise<ExecutionResult | undefined> {
  const calls = [{ callId: randomUUID(), name: call.name, arguments: call.arguments, grant: "" }];
  const { results } = await deps.executions.executeCalls({ calls }, forward(ctx, { timeoutMs: toolMs + besideMs }));
  const [result] = results;
  if (result === undefined) throw fail(ErrorReason.INTERNAL, "the executor left a call without a result");
  return result.status === ExecutionStatus.REFUSED && result.unapprovedVersion !== "" ? undefined : result;
}

/** Stores a run of one call, which waits for a decision. */
async function runWithApproval(deps: TrialDeps, ctx: HandlerContext, trial: TrialCall) {
  const message = `Try the tool ${trial.name} with: ${cutText(trial.arguments, shownArguments)}`;
  const run = await startRun(deps, ctx, { conversationId: "", message, agentType: "general", model: "", concurrency: "", trial });
  const { runId, conversationId } = run;
  const answer = await answerOf(deps, ctx, run);
  const record = await deps.conversations.getConversation({ conversationId, limit: answer === undefined ? 0 : 10 }, options(ctx));
  if (answer === undefined) {
    const approval = record.pendingApprovals.find((one) => one.runId === runId);
    // Decided meanwhile: the run tells the rest.
    return { status: "waiting", conversationId, runId, approval };
  }
  // The tool needs no approval any more.
  const result = record.messages.findLast(({ role }) => role === "tool");
  return { status: "completed", outputJson: result?.content ?? "", conversationId, runId };
}

/** Handlers of TrialService. */
export function trialHandlers(deps: TrialDeps): ServiceImpl<typeof TrialService> {
  return {
    async tryTool({ toolName, arguments: value, argumentsJson: text }, ctx) {
      const json = givenObject("arguments", { text, value }) || "{}";
      const call = { name: toolName, arguments: json };
      await deps.executions.checkCall(call, options(ctx));
      const spec = (await deps.catalogue.specs(options(ctx))).get(toolName);
      const result = spec?.requiresApproval ? undefined : await runNow(deps, ctx, call, spec?.timeoutMs ?? 0);
      if (result === undefined) return await runWithApproval(deps, ctx, call);
      const { status, output, error, durationMs } = result;
      if (status === ExecutionStatus.SUCCESS) return { status: "completed", outputJson: output, durationMs };
      return { status: "failed", error, durationMs };
    },
  };
}
