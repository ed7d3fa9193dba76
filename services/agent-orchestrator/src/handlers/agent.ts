import { type Client, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import { builtInAgents } from "../agents/agents.ts";
import { EventQueue } from "../run-events/event-queue.ts";
import type { RunFrame } from "../run-events/frame.ts";
import { weightOf } from "../run-events/live-log.ts";
import { parsePosition } from "../run-events/position.ts";
import { decide, isClaimed } from "../runs/decide.ts";
import { type Answer, answerOf, framesOf, pendingApproval } from "../runs/follow-run.ts";
import type { RunDeps } from "../runs/launch.ts";
import { followedHandle, type RunHandle } from "../runs/run-handle.ts";
import { type NewMessage, startRun } from "../runs/start-run.ts";
import { decideCall, decideCalls, readApproval, requireApproved, statusOf } from "./decisions.ts";

/** Dependencies of the handlers. */
export interface AgentDeps extends RunDeps {
  readonly conversations: Client<typeof ConversationService>;
}

/** The most that is held for a client that reads a stream slowly, in characters. */
const maxHeld = 65_536;

/**
 * A run's error for the caller: when the run's credential has ended and the caller uses the same one, the caller's
 * token is invalid too.
 */
function errorFor(ctx: HandlerContext, tokenId: string, error: unknown): unknown {
  const isOwn = reasonOf(error) === ErrorReason.RUN_CREDENTIAL_ENDED && requireIdentity(ctx).tokenId === tokenId;
  return isOwn && error instanceof ConnectError ? fail(ErrorReason.INVALID_TOKEN, error.rawMessage, { cause: error }) : error;
}

async function waitForAnswer(deps: AgentDeps, ctx: HandlerContext, run: RunHandle): Promise<Answer | undefined> {
  try {
    return await answerOf(deps, ctx, run);
  } catch (error) {
    throw errorFor(ctx, run.tokenId, error);
  }
}

/** Starts a run and waits for its answer, or until it waits for an approval. */
async function answerMessage(deps: AgentDeps, ctx: HandlerContext, message: NewMessage) {
  const run = await startRun(deps, ctx, message);
  return { conversationId: run.conversationId, response: pendingApproval, ...(await waitForAnswer(deps, ctx, run)) };
}

/**
 * The effect of a decision: the run's answer when it came to one. A run of a graph version that no process drives stays
 * queued; the response then states the decision alone.
 */
async function decisionResult(
  deps: AgentDeps,
  ctx: HandlerContext,
  approved: boolean,
  run: RunHandle | undefined,
): Promise<{ status: string; response?: string }> {
  if (run === undefined) return { status: pendingApproval };
  const status = approved ? "approved" : "rejected";
  if (!(await isClaimed(deps, ctx, run))) return { status };
  const answer = await waitForAnswer(deps, ctx, run);
  return answer === undefined ? { status: pendingApproval } : { status, response: answer.response };
}

/** The effect of a decision that was made before: what its run has come to, or comes to. */
async function repeatedResult(
  deps: AgentDeps,
  ctx: HandlerContext,
  { approval: { runId }, approved }: { approval: { readonly runId: string }; approved: boolean },
): Promise<{ status: string; response?: string }> {
  const { run } = await deps.conversations.getRun({ runId }, forward(ctx, { timeoutMs: 15_000 }));
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the conversation service returned no run");
  if (run.status === "waiting") return { status: pendingApproval };
  if (run.status === "completed") return { status: statusOf({ goesOn: true, approved }), response: run.response };
  // The newest entry of its log, which tells how a run has ended, is read again.
  const { seq } = parsePosition(run.lastEventId);
  const handle = followedHandle({ ...run, id: runId }, { from: { seq: Math.max(0, seq - 1), units: 0 }, isReplayed: true });
  return await decisionResult(deps, ctx, approved, handle);
}

/** Handlers of AgentService: messages of stored conversations, and decisions on their calls. */
export function agentHandlers(deps: AgentDeps): ServiceImpl<typeof AgentService> {
  return {
    async createConversation(request, ctx) {
      return await answerMessage(deps, ctx, { ...request, conversationId: "", concurrency: "" });
    },

    async sendMessage(request, ctx) {
      return await answerMessage(deps, ctx, request);
    },

    async *streamTurn(request, ctx) {
      const events = new EventQueue<RunFrame>(maxHeld, weightOf);
      const run = await startRun(deps, ctx, request, (frame) => events.push(frame));
      try {
        for await (const frame of framesOf(deps, ctx, run, events)) yield frame;
      } catch (error) {
        throw errorFor(ctx, run.tokenId, error);
      }
    },

    async approveConversation({ conversationId, approved: given, reason }, ctx) {
      const approved = requireApproved(given);
      const { conversation, run } = await decide(deps, ctx, { conversationId, approved, reason });
      const result = await decisionResult(deps, ctx, approved, run);
      if (run === undefined) return { conversation, ...result };
      const { conversation: after } = await deps.conversations.getConversation(
        { conversationId, limit: 0 },
        forward(ctx, { timeoutMs: 15_000 }),
      );
      return { conversation: after, ...result };
    },

    async decideApproval({ wait = true, ...given }, ctx) {
      const decided = await decideCall(deps, ctx, given, { via: given.via, isAwaited: wait });
      const { conversationId } = decided.approval;
      if (!wait) {
        return { conversationId, status: statusOf(decided), approval: await readApproval(deps, ctx, given.approvalId) };
      }
      if (!decided.isRepeated) return { conversationId, ...(await decisionResult(deps, ctx, decided.approved, decided.run)) };
      return { conversationId, ...(await repeatedResult(deps, ctx, decided)) };
    },

    async decideApprovals(request, ctx) {
      return { results: await decideCalls(deps, ctx, request) };
    },

    async listAgents() {
      return {
        agents: builtInAgents.map(({ name, description, model, tools }) => ({
          name,
          description,
          model: model ?? deps.defaultModel,
          tools: [...tools],
        })),
      };
    },
  };
}
