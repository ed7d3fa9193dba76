import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { AgentService, StreamTurnResponseSchema } from "@turnwright/contract/agent/v1/agent_service";
import type { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { asReplayed, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { allows, requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";
import { builtInAgents } from "../agents/agents.ts";
import { type CompletionDeps, complete, streamComplete } from "../completions/completion.ts";
import type { Outcome } from "../graph/driver.ts";
import { usageMessage } from "../model/chunk.ts";
import type { ModelList } from "../model/model-list.ts";
import { EventQueue } from "../run-events/event-queue.ts";
import type { RunFrame } from "../run-events/frame.ts";
import { weightOf } from "../run-events/live-log.ts";
import { formatPosition, type Position, parsePosition } from "../run-events/position.ts";
import { type FollowedOutcome, followRun } from "../runs/follow-run.ts";
import type { StartedTurn, TurnDeps } from "../runs/launch.ts";
import { type AcceptedTurn, decide, type NewMessage, startTurn } from "../runs/start-run.ts";
import { givenObject } from "./given-json.ts";

/** What the handlers stand on. */
export interface AgentDeps extends TurnDeps {
  readonly models: ModelList;
  readonly conversations: Client<typeof ConversationService>;
}

type TurnFrame = MessageInitShape<typeof StreamTurnResponseSchema>;

const pendingApproval = "pending_approval";

/** What a turn's watcher gets of a run's frame. */
function turnFrame({ error: _error, errorReason: _reason, ...frame }: RunFrame): TurnFrame {
  return frame;
}

/** The last frames of a turn that was driven here. */
function* lastFrames(turn: StartedTurn, outcome: Outcome): Generator<RunFrame> {
  const usage = usageMessage(turn.usage());
  const eventId = formatPosition(turn.position());
  if (outcome.status === "completed") {
    yield { type: "finish", delta: outcome.finishReason, usage, message: outcome.message, eventId };
    return;
  }
  const calls = outcome.status === "waiting" ? outcome.calls : [];
  for (const call of calls) yield { type: pendingApproval, toolCall: call, eventId };
  yield { type: "finish", delta: pendingApproval, usage, eventId };
}

/** The end of a run that another worker drives, from a position or from its beginning. */
async function followed(deps: AgentDeps, ctx: HandlerContext, run: { runId: string; from?: Position }) {
  const frames = followRun(deps, { ...run, options: forward(ctx), signal: ctx.signal });
  let step = await frames.next();
  while (!step.done) step = await frames.next();
  return step.value;
}

/** Whether a turn ended here because another worker has it: who waits for its answer gets it from there. */
function isElsewhere(error: unknown): boolean {
  return reasonOf(error) === ErrorReason.STALE_EPOCH;
}

/**
 * A run's error as its caller hears it: the end of the run's credential is the end of the caller's where it is the same
 * one.
 */
function heardBy(ctx: HandlerContext, tokenId: string, error: unknown): unknown {
  const isOwn = reasonOf(error) === ErrorReason.RUN_CREDENTIAL_ENDED && requireIdentity(ctx).tokenId === tokenId;
  return isOwn && error instanceof ConnectError ? fail(ErrorReason.INVALID_TOKEN, error.rawMessage, { cause: error }) : error;
}

function tokenOf(turn: StartedTurn | AcceptedTurn): string {
  return turn.outcome === undefined ? turn.run.tokenId : turn.tokenId;
}

/** The answer's text and message; undefined while the run waits for a person. Whoever drives it. */
async function answered(deps: AgentDeps, ctx: HandlerContext, turn: StartedTurn | AcceptedTurn): Promise<Answer | undefined> {
  try {
    return await answerOfRun(deps, ctx, turn);
  } catch (error) {
    throw heardBy(ctx, tokenOf(turn), error);
  }
}

async function answerOfRun(deps: AgentDeps, ctx: HandlerContext, turn: StartedTurn | AcceptedTurn): Promise<Answer | undefined> {
  if (turn.outcome === undefined) {
    return answerIn(
      await followed(deps, ctx, { runId: turn.run.id, from: turn.from }).catch((error) => {
        throw turn.isReplayed ? asReplayed(error) : error;
      }),
    );
  }
  try {
    const outcome = await turn.outcome;
    return outcome.status === "completed" ? { message: outcome.message, response: outcome.message.content } : undefined;
  } catch (error) {
    if (!isElsewhere(error)) throw error;
    return answerIn(await followed(deps, ctx, { runId: turn.runId, from: turn.position() }));
  }
}

interface Answer {
  readonly message: RunFrame["message"];
  readonly response: string;
}

function answerIn(outcome: FollowedOutcome): Answer | undefined {
  if (outcome.status === "waiting") return undefined;
  const { message } = outcome.finish;
  return { message, response: message?.content ?? "" };
}

/** How long who has decided waits for a process that drives the run's version to take it, in milliseconds. */
const takenPatienceMs = 3_000;
const takenPollMs = 200;

/**
 * What a decision led to: the answer, if the run came to one. A run of a version that this process does not drive may
 * stay as it is until there is one that does: then the decision is what there is to tell.
 */
async function decided(
  deps: AgentDeps,
  ctx: HandlerContext,
  approved: boolean,
  turn: StartedTurn | AcceptedTurn | undefined,
): Promise<{ status: string; response?: string }> {
  if (turn === undefined) return { status: pendingApproval };
  const status = approved ? "approved" : "rejected";
  if (turn.outcome === undefined && !(await isTaken(deps, ctx, turn.run.id))) return { status };
  const answer = await answered(deps, ctx, turn);
  return answer === undefined ? { status: pendingApproval } : { status, response: answer.response };
}

/** Whether somebody takes a queued run within a few beats. */
async function isTaken(deps: AgentDeps, ctx: HandlerContext, runId: string): Promise<boolean> {
  for (const until = Date.now() + takenPatienceMs; ; await delay(takenPollMs, undefined, { signal: ctx.signal })) {
    const { run } = await deps.conversations.getRun({ runId }, forward(ctx, { timeoutMs: 15_000 }));
    if (run?.status !== "queued") return true;
    if (Date.now() > until) return false;
  }
}

/** The answer of a turn that somebody waits for. */
async function answerOf(deps: AgentDeps, ctx: HandlerContext, turn: StartedTurn | AcceptedTurn) {
  const { conversationId } = turn.outcome === undefined ? turn.run : turn;
  return { conversationId, response: pendingApproval, ...(await answered(deps, ctx, turn)) };
}

/** The frames of a run that another worker drives, from a position or from its beginning. */
async function* followedFrames(
  deps: AgentDeps,
  ctx: HandlerContext,
  run: { runId: string; from?: Position },
): AsyncGenerator<TurnFrame> {
  const frames = followRun(deps, { ...run, options: forward(ctx), signal: ctx.signal });
  let step = await frames.next();
  for (; !step.done; step = await frames.next()) yield turnFrame(step.value);
  yield step.value.status === "completed" ? turnFrame(step.value.finish) : { type: "finish", delta: pendingApproval };
}

/**
 * The most that waits for who watches a turn that is driven here, in characters. Who is behind by more reads like
 * anybody else who watches the run.
 */
const maxAhead = 65_536;

/**
 * Starts a turn; what happens in one that is driven here goes to the queue, and what is held for its watcher is there
 * and nowhere else.
 */
async function openTurn(
  deps: AgentDeps,
  ctx: HandlerContext,
  message: NewMessage,
  events: EventQueue<RunFrame>,
): Promise<{ runId: string; tokenId: string; started?: TurnFrame }> {
  const turn = await startTurn(deps, ctx, message, (frame) => events.push(frame));
  const tokenId = tokenOf(turn);
  if (turn.outcome === undefined) return { runId: turn.run.id, tokenId };
  turn.outcome.then(
    (outcome) => {
      for (const frame of lastFrames(turn, outcome)) events.push(frame);
      events.end();
    },
    (error) => (isElsewhere(error) ? events.leave() : events.end(error)),
  );
  const { runId, conversationId, agent } = turn;
  return { runId, tokenId, started: { type: "started", conversationId, runId, agent, eventId: "0" } };
}

/** Turns of stored conversations. */
export function agentHandlers(deps: AgentDeps): ServiceImpl<typeof AgentService> {
  return {
    async createConversation(request, ctx) {
      return answerOf(deps, ctx, await startTurn(deps, ctx, { ...request, conversationId: "", concurrency: "" }));
    },

    async sendMessage(request, ctx) {
      return answerOf(deps, ctx, await startTurn(deps, ctx, request));
    },

    async *streamTurn(request, ctx) {
      const events = new EventQueue<RunFrame>(maxAhead, weightOf);
      const { runId, tokenId, started } = await openTurn(deps, ctx, request, events);
      try {
        if (started === undefined) {
          yield* followedFrames(deps, ctx, { runId });
          return;
        }
        yield started;
        let at: string | undefined;
        for await (const frame of events) {
          at = frame.eventId;
          yield turnFrame(frame);
        }
        if (events.isIncomplete) yield* followedFrames(deps, ctx, { runId, from: parsePosition(at ?? "0") });
      } catch (error) {
        throw heardBy(ctx, tokenId, error);
      }
    },

    async approveConversation({ conversationId, approved, reason }, ctx) {
      if (approved === undefined)
        throw fail(ErrorReason.INVALID_REQUEST, "approved: must be true or false", { param: "approved" });
      const { conversation, turn } = await decide(deps, ctx, { conversationId, approved, reason });
      const outcome = await decided(deps, ctx, approved, turn);
      if (turn === undefined) return { conversation, ...outcome };
      const { conversation: after } = await deps.conversations.getConversation(
        { conversationId },
        forward(ctx, { timeoutMs: 15_000 }),
      );
      return { conversation: after, ...outcome };
    },

    async decideApproval({ approvalId, approved, reason, arguments: value, argumentsJson: text }, ctx) {
      if (approved === undefined)
        throw fail(ErrorReason.INVALID_REQUEST, "approved: must be true or false", { param: "approved" });
      const json = givenObject("arguments", { text, value });
      if (!approved && json !== "")
        throw fail(ErrorReason.INVALID_REQUEST, "arguments: a rejected call has none", { param: "arguments" });
      const options = forward(ctx, { timeoutMs: 15_000 });
      const { approval } = await deps.conversations.getApproval({ approvalId }, options);
      if (approval === undefined) throw fail(ErrorReason.INTERNAL, "the record gave no approval");
      const { conversationId, callId, toolName } = approval;
      if (json !== "") await deps.executions.checkCall({ name: toolName, arguments: json }, options);
      const calls = [{ approvalId, callId, approved, reason, arguments: json }];
      const { turn } = await decide(deps, ctx, { conversationId, calls });
      return { conversationId, ...(await decided(deps, ctx, approved, turn)) };
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
