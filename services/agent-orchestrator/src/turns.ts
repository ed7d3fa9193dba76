import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client, HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import type { DecideApprovalsRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/forward";
import { allows, internalTokenHeader, requireIdentity } from "@turnwright/platform/identity";
import type { Logger } from "@turnwright/platform/logger";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type AgentDefinition, builtInAgents } from "./agents/agents.ts";
import { routeMessage } from "./agents/router.ts";
import type { DrivenRuns } from "./driven-runs.ts";
import { drive, type Outcome } from "./graph/driver.ts";
import { runCredentials } from "./graph/run-credentials.ts";
import { type GraphDeps, graphVersion, type NodeName, type Turn, type TurnEvent, type TurnState } from "./graph/turn.ts";
import type { LiveRuns } from "./live-runs.ts";
import { noUsage } from "./model/chunk.ts";

/** What turns stand on. */
export interface TurnDeps extends GraphDeps {
  readonly tokens: Client<typeof TokenService>;
  readonly liveRuns: LiveRuns;
  /** UUID of this process, under which it claims runs. */
  readonly workerId: string;
  readonly driving: DrivenRuns;
  /** How long a turn may take, in milliseconds. */
  readonly runTimeoutMs: number;
  readonly logger: Logger;
}

/** A user's message. */
export interface NewMessage {
  /** Empty: a new conversation. */
  readonly conversationId: string;
  readonly message: string;
  readonly agentType: string;
  readonly model: string;
}

/** A turn under way; it goes on to its end whether or not its caller waits. */
export interface StartedTurn {
  readonly conversationId: string;
  readonly runId: string;
  readonly agent: string;
  readonly outcome: Promise<Outcome>;
  /** Usage so far. */
  usage(): Turn["totalUsage"];
}

function findAgent(name: string): AgentDefinition | undefined {
  return builtInAgents.find((candidate) => candidate.name === name);
}

function agentNamed(name: string): AgentDefinition {
  const agent = findAgent(name);
  if (agent !== undefined) return agent;
  const known = builtInAgents.map((candidate) => candidate.name).join(", ");
  throw fail(ErrorReason.INVALID_REQUEST, `agent_type: there is no agent ${JSON.stringify(name)}; there are ${known}`, {
    param: "agent_type",
  });
}

function modelFor(deps: TurnDeps, identity: Identity, asked: string, agent: AgentDefinition): string {
  const model = asked || agent.model || deps.defaultModel;
  if (allows(identity.allowedModels, model)) return model;
  throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(model)}.`, { param: "model" });
}

const never = new AbortController().signal;

/** For calls that claim a run: once begun, they end, so that no run is left claimed by nobody because its caller went away. */
function detached(ctx: HandlerContext): CallOptions {
  return forward(ctx, { signal: never, timeoutMs: 15_000 });
}

/** On whose behalf a run goes on. */
interface Behalf {
  readonly identity: Identity;
  readonly headers: Readonly<Record<string, string>>;
}

function behalfOf(ctx: HandlerContext): Behalf {
  return { identity: requireIdentity(ctx), headers: forward(ctx).headers as Record<string, string> };
}

/** Drives a claimed run in the background of the call that claimed it, within the run's own time. */
function launch(
  deps: TurnDeps,
  { identity, headers }: Behalf,
  claimed: RunContext,
  start: { node: NodeName; state: TurnState; emit: (event: TurnEvent) => void },
): StartedTurn {
  const { run } = claimed;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(fail(ErrorReason.DEADLINE_EXCEEDED, "The turn took longer than its deadline allows."));
  }, deps.runTimeoutMs);
  const turn: Turn = {
    runId: run.id,
    conversationId: run.conversationId,
    epoch: run.epoch,
    identity,
    // A run that is claimed must go on: where its agent is gone, the general one does.
    agent: findAgent(start.state.agent) ?? agentNamed("general"),
    state: start.state,
    messages: [...claimed.messages],
    decisions: new Map(claimed.decisions.map((decision) => [decision.callId, decision])),
    uncommitted: [],
    usage: noUsage,
    costUsd: 0,
    totalUsage: noUsage,
    signal: controller.signal,
    options: runCredentials(headers, identity, { tokens: deps.tokens, signal: controller.signal, timeoutMs: deps.runTimeoutMs }),
    emit: start.emit,
  };
  const forget = deps.liveRuns.add(identity.tokenId, controller);
  deps.driving.set(run.id, controller);
  const outcome = drive(deps, turn, start.node).finally(() => {
    clearTimeout(timer);
    forget();
    deps.driving.delete(run.id);
  });
  // Nobody may be waiting for it any more.
  outcome.catch((error) => deps.logger.info({ err: error, run_id: run.id }, "turn failed"));
  return { conversationId: run.conversationId, runId: run.id, agent: turn.agent.name, outcome, usage: () => turn.totalUsage };
}

/** Stores a user's message and starts the turn that answers it. The message is stored when this resolves. */
export async function startTurn(
  deps: TurnDeps,
  ctx: HandlerContext,
  message: NewMessage,
  emit: (event: TurnEvent) => void,
): Promise<StartedTurn> {
  const identity = requireIdentity(ctx);
  const chosen = message.agentType === "" ? undefined : agentNamed(message.agentType);
  const routed = agentNamed(routeMessage(message.message));
  // What the token may not use is refused before anything is stored. The agent of a conversation is known only after; the graph looks again.
  modelFor(deps, identity, message.model, chosen ?? routed);
  // What the choice rests on is stored with the message: another worker must come to the same one.
  const asked: TurnState = { ...freshState, agent: chosen?.name ?? "", model: message.model };
  const { context } = await deps.journal.beginRun(
    {
      runId: uuidv7(),
      conversationId: message.conversationId,
      message: message.message,
      agentType: message.conversationId === "" ? message.agentType : "",
      graphVersion,
      deadlineSeconds: Math.ceil(deps.runTimeoutMs / 1000),
      state: JSON.stringify(asked),
      workerId: deps.workerId,
    },
    detached(ctx),
  );
  if (context === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave no context");
  const state = settledState(deps, asked, context);
  return launch(deps, behalfOf(ctx), context, { node: "think", state, emit });
}

const freshState: TurnState = { agent: "", model: "", iteration: 0, messageId: "", waiting: [] };

/** The state with the agent and model that it leaves open: those of the conversation, else what the router makes of the user's message. */
function settledState(deps: TurnDeps, state: TurnState, context: RunContext): TurnState {
  const said = context.messages.findLast((message) => message.role === "user");
  const agent =
    findAgent(state.agent) ?? findAgent(context.conversation?.agentType ?? "") ?? agentNamed(routeMessage(said?.content ?? ""));
  return { ...state, agent: agent.name, model: state.model || agent.model || deps.defaultModel };
}

/** Goes on with a run whose worker is gone, on behalf of its owner. Throws what minting a token throws: the credential may have ended. */
export async function recoverTurn(deps: TurnDeps, context: RunContext): Promise<StartedTurn> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  const { userId, tokenId } = run;
  const { internalToken, identity } = await deps.tokens.mintInternalToken({ userId, tokenId }, { timeoutMs: 5_000 });
  if (identity === undefined) throw fail(ErrorReason.INTERNAL, "auth minted a token without an identity");
  const stored = run.state === "" ? freshState : (JSON.parse(run.state) as TurnState);
  const start = {
    node: run.node === "act" ? ("act" as const) : ("think" as const),
    state: settledState(deps, stored, context),
    emit: () => {},
  };
  return launch(deps, { identity, headers: { [internalTokenHeader]: internalToken } }, context, start);
}

/** Decides on calls that a conversation waits for and goes on with its run, if nothing is left to decide. */
export async function decide(
  deps: TurnDeps,
  ctx: HandlerContext,
  decision: Omit<MessageInitShape<typeof DecideApprovalsRequestSchema>, "$typeName"> & { conversationId: string },
): Promise<{ conversation: Conversation | undefined; turn: StartedTurn | undefined }> {
  const { workerId } = deps;
  const { conversation, context } = await deps.journal.decideApprovals({ ...decision, workerId }, detached(ctx));
  if (context?.run === undefined) return { conversation, turn: undefined };
  const state = JSON.parse(context.run.state) as TurnState;
  return { conversation, turn: launch(deps, behalfOf(ctx), context, { node: "act", state, emit: () => {} }) };
}
