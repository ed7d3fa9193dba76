import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client, HandlerContext } from "@connectrpc/connect";
import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { DecideApprovalsRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { forward } from "@turnwright/platform/rpc/forward";
import { versionFields } from "../graph/versions.ts";
import { detached, traceOf } from "./caller.ts";
import type { RunDeps } from "./launch.ts";
import { followedHandle, type RunHandle } from "./run-handle.ts";
import { resumeClaimed, takeOver } from "./take-over.ts";

/** A decision on one or all waiting calls of a conversation. */
export type Decision = Omit<MessageInitShape<typeof DecideApprovalsRequestSchema>, "$typeName"> & { conversationId: string };

/**
 * Records a decision on calls that a conversation waits for, and resumes its run when no call is left undecided. The
 * decision carries the caller's name; the run acts as its starter. A run of a graph version that this process does not
 * drive is left to another worker. `run` is undefined while calls are still undecided, and when nobody waits for the
 * run's answer: the run then goes on by itself. `goesOn` tells whether no call is left undecided.
 */
export async function decide(
  deps: RunDeps,
  ctx: HandlerContext,
  decision: Decision,
  { isAwaited = true }: { isAwaited?: boolean } = {},
): Promise<{ conversation: Conversation | undefined; run: RunHandle | undefined; goesOn: boolean }> {
  const toolVersions = await currentVersions(deps, ctx, decision);
  const request = { ...decision, toolVersions, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { conversation, context, run } = await deps.journal.decideApprovals(request, detached(ctx));
  if (run !== undefined) {
    return { conversation, run: followedHandle(run, { from: { seq: run.seq, units: 0 } }), goesOn: true };
  }
  if (context === undefined) return { conversation, run: undefined, goesOn: false };
  if (isAwaited) return { conversation, run: await resumeClaimed(deps, ctx, context), goesOn: true };
  takeOver(deps, context, { headers: traceOf(ctx) }).catch((error: unknown) => {
    deps.logger.error({ err: error, run_id: context.run?.id }, "a decided run was not taken over");
  });
  return { conversation, run: undefined, goesOn: true };
}

/**
 * The executors' versions of all tools, so that nobody approves a call that can no longer run. Empty for rejections,
 * and while the executors are away: the run then waits for them, and the executor refuses a version that was not
 * approved.
 */
async function currentVersions(deps: RunDeps, ctx: HandlerContext, decision: Decision): Promise<Record<string, string>> {
  if (!decision.approved && !decision.calls?.some(({ approved }) => approved)) return {};
  try {
    const specs = await deps.catalogue.specs(forward(ctx, { timeoutMs: 5_000 }));
    return Object.fromEntries([...specs].map(([name, { version }]) => [name, version]));
  } catch (error) {
    deps.logger.warn({ err: error }, "a decision was made without the tools' current versions");
    return {};
  }
}

/** How long a decision waits for a worker that drives the run's graph version, in milliseconds. */
const claimPatienceMs = 3_000;
const claimPollMs = 200;

/** Whether a worker drives a decided run, or claims it within a few heartbeats. */
export async function isClaimed(
  deps: { conversations: Client<typeof ConversationService> },
  ctx: HandlerContext,
  handle: RunHandle,
): Promise<boolean> {
  if (handle.driven !== undefined) return true;
  for (const until = Date.now() + claimPatienceMs; ; await delay(claimPollMs, undefined, { signal: ctx.signal })) {
    const { run } = await deps.conversations.getRun({ runId: handle.runId }, forward(ctx, { timeoutMs: 15_000 }));
    if (run?.status !== "queued") return true;
    if (Date.now() > until) return false;
  }
}
