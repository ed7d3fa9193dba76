import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client, ServiceImpl } from "@connectrpc/connect";
import type { AgentService, StreamTurnResponseSchema } from "@turnwright/contract/agent/v1/agent_service";
import type { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/forward";
import { allows, requireIdentity } from "@turnwright/platform/identity";
import { builtInAgents } from "./agents/agents.ts";
import { type CompletionDeps, complete, streamComplete } from "./completions/completion.ts";
import { EventQueue } from "./event-queue.ts";
import type { Outcome } from "./graph/driver.ts";
import type { TurnEvent } from "./graph/turn.ts";
import { type ModelUsage, usageMessage } from "./model/chunk.ts";
import type { ModelList } from "./model/model-list.ts";
import { decide, type StartedTurn, startTurn, type TurnDeps } from "./turns.ts";

/** What the handlers stand on. */
export interface AgentDeps extends TurnDeps {
  readonly models: ModelList;
  readonly conversations: Client<typeof ConversationService>;
}

type TurnFrame = MessageInitShape<typeof StreamTurnResponseSchema>;

const pendingApproval = "pending_approval";
const ignore = () => {};

function frameOf(event: TurnEvent): TurnFrame {
  switch (event.type) {
    case "content":
      return { type: "content", delta: event.delta };
    case "tool_call":
      return { type: "tool_call", toolCall: event.call };
    case "tool_result":
      return {
        type: "tool_result",
        toolCall: { id: event.callId, type: "function", function: { name: event.name } },
        result: event.result,
      };
    case "pending_approval":
      return { type: "pending_approval", toolCall: event.call };
    default:
      throw event satisfies never;
  }
}

function finishFrame(outcome: Outcome, usage: ModelUsage): TurnFrame {
  return outcome.status === "completed"
    ? { type: "finish", delta: outcome.finishReason, usage: usageMessage(usage), message: outcome.message }
    : { type: "finish", delta: pendingApproval, usage: usageMessage(usage) };
}

/** The answer of a turn that somebody waits for. */
async function answerOf(turn: StartedTurn) {
  const outcome = await turn.outcome;
  return outcome.status === "completed"
    ? { conversationId: turn.conversationId, message: outcome.message, response: outcome.message.content }
    : { conversationId: turn.conversationId, response: pendingApproval };
}

/** Turns of stored conversations. */
export function agentHandlers(deps: AgentDeps): ServiceImpl<typeof AgentService> {
  return {
    async createConversation(request, ctx) {
      return answerOf(await startTurn(deps, ctx, { ...request, conversationId: "" }, ignore));
    },

    async sendMessage(request, ctx) {
      return answerOf(await startTurn(deps, ctx, request, ignore));
    },

    async *streamTurn(request, ctx) {
      const events = new EventQueue<TurnFrame>();
      const turn = await startTurn(deps, ctx, request, (event) => events.push(frameOf(event)));
      turn.outcome.then(
        () => events.end(),
        () => events.end(),
      );
      yield { type: "started", conversationId: turn.conversationId, runId: turn.runId, agent: turn.agent };
      yield* events;
      yield finishFrame(await turn.outcome, turn.usage());
    },

    async approveConversation({ conversationId, approved, reason }, ctx) {
      if (approved === undefined)
        throw fail(ErrorReason.INVALID_REQUEST, "approved: must be true or false", { param: "approved" });
      const { conversation, turn } = await decide(deps, ctx, { conversationId, approved, reason });
      if (turn === undefined) return { conversation, status: pendingApproval };
      const outcome = await turn.outcome;
      const { conversation: after } = await deps.conversations.getConversation(
        { conversationId },
        forward(ctx, { timeoutMs: 15_000 }),
      );
      if (outcome.status === "waiting") return { conversation: after, status: pendingApproval };
      return { conversation: after, status: approved ? "approved" : "rejected", response: outcome.message.content };
    },

    async decideApproval({ approvalId, approved, reason, arguments: edited }, ctx) {
      if (approved === undefined)
        throw fail(ErrorReason.INVALID_REQUEST, "approved: must be true or false", { param: "approved" });
      if (!approved && edited !== undefined)
        throw fail(ErrorReason.INVALID_REQUEST, "arguments: a rejected call has none", { param: "arguments" });
      const options = forward(ctx, { timeoutMs: 15_000 });
      const { approval } = await deps.conversations.getApproval({ approvalId }, options);
      if (approval === undefined) throw fail(ErrorReason.INTERNAL, "the record gave no approval");
      const { conversationId, callId, toolName } = approval;
      const json = edited === undefined ? "" : JSON.stringify(edited);
      if (json !== "") await deps.executions.checkCall({ name: toolName, arguments: json }, options);
      const calls = [{ approvalId, callId, approved, reason, arguments: json }];
      const { turn } = await decide(deps, ctx, { conversationId, calls });
      if (turn === undefined) return { conversationId, status: pendingApproval };
      const outcome = await turn.outcome;
      if (outcome.status === "waiting") return { conversationId, status: pendingApproval };
      return { conversationId, status: approved ? "approved" : "rejected", response: outcome.message.content };
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

/** Stateless completions. */
export function completionHandlers(deps: CompletionDeps & { models: ModelList }): ServiceImpl<typeof CompletionService> {
  return {
    async complete({ body }, ctx) {
      const call = { identity: requireIdentity(ctx), options: forward(ctx), signal: ctx.signal };
      const answer = await complete(deps, call, body);
      return { body: answer.body, usage: usageMessage(answer.usage), model: answer.model };
    },

    streamComplete({ body, format }, ctx) {
      const call = { identity: requireIdentity(ctx), options: forward(ctx), signal: ctx.signal };
      return streamComplete(deps, call, body, format);
    },

    async listModels(_request, ctx) {
      const { allowedModels } = requireIdentity(ctx);
      const names = await deps.models.names();
      return {
        object: "list",
        data: names
          .filter((name) => allows(allowedModels, name))
          .map((id) => ({ id, object: "model", created: deps.models.since, ownedBy: "turnwright" })),
      };
    },
  };
}
