import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client, HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import type { BeginRunResponse, DecideApprovalsRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { type Run, type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/forward";
import { idempotentReplayedHeader } from "@turnwright/platform/idempotency";
import { idempotencyKeyOf } from "@turnwright/platform/idempotency-key";
import { allows, internalTokenHeader, requireIdentity } from "@turnwright/platform/identity";
import type { Bus } from "@turnwright/platform/ports/bus";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type AgentDefinition, builtInAgents } from "./agents/agents.ts";
import { routeMessage } from "./agents/router.ts";
import { cancelRun } from "./cancel-run.ts";
import type { DrivenRuns } from "./driven-runs.ts";
import { drive, type Outcome } from "./graph/driver.ts";
import { runCredentials } from "./graph/run-credentials.ts";
import { callsMessageId, freshState, readState, type TurnState } from "./graph/state.ts";
import { type GraphDeps, type NodeName, type Turn, versionFields } from "./graph/turn.ts";
import type { LiveRuns } from "./live-runs.ts";
import { noUsage } from "./model/chunk.ts";
import type { RunFrame } from "./run-events/frame.ts";
import { type LiveLogs, pokeWatchers } from "./run-events/live-log.ts";
import type { Position } from "./run-events/position.ts";

/** What turns stand on. */
export interface TurnDeps extends GraphDeps {
  readonly tokens: Client<typeof TokenService>;
  readonly liveRuns: LiveRuns;
  /** UUID of this process, under which it claims runs. */
  readonly workerId: string;
  readonly driving: DrivenRuns;
  /** How long a turn may take, in milliseconds. */
  readonly runTimeoutMs: number;
  /** What happens in the runs that this process drives, for those who watch. */
  readonly liveLogs: LiveLogs;
  readonly bus: Bus;
}

/** A user's message. */
export interface NewMessage {
  /** Empty: a new conversation. */
  readonly conversationId: string;
  readonly message: string;
  readonly agentType: string;
  readonly model: string;
  /** What to do while another message of the conversation is being answered; empty: it is answered after that one. */
  readonly concurrency: string;
  /** Nobody waits for the answer. */
  readonly background?: boolean;
  /** How long the turn may take; unset: as configured. */
  readonly deadlineSeconds?: number;
}

/** A turn that is not driven by this call: its run is queued, or was there before. */
export interface AcceptedTurn {
  readonly run: Run;
  /** The message was there before, under its idempotency key. */
  readonly isReplayed?: boolean;
  /** Where its log stood when this call left it; unset: at its beginning. */
  readonly from?: Position;
  readonly outcome?: undefined;
}

/** A turn under way; it goes on to its end whether or not its caller waits. */
export interface StartedTurn {
  readonly conversationId: string;
  readonly runId: string;
  readonly agent: string;
  readonly outcome: Promise<Outcome>;
  /** Usage so far. */
  usage(): Turn["totalUsage"];
  /** Where its log stands. */
  position(): Position;
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

/** For calls that claim or end a run: once begun, they end, so that no run is left claimed by nobody because its caller went away. */
export function detached(ctx: HandlerContext): CallOptions {
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
  start: { node: NodeName; state: TurnState; onFrame?: (frame: RunFrame) => void },
): StartedTurn {
  const { run } = claimed;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  const controller = deps.driving.begin(run.id);
  const timeoutMs = run.deadlineSeconds * 1_000 || deps.runTimeoutMs;
  const timer = setTimeout(() => {
    controller.abort(fail(ErrorReason.DEADLINE_EXCEEDED, "The turn took longer than its deadline allows."));
  }, timeoutMs);
  const log = deps.liveLogs.open(run, start.onFrame ?? ignore);
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
    options: runCredentials(headers, identity, { tokens: deps.tokens, signal: controller.signal, timeoutMs }),
    log,
  };
  // Who watches from the journal alone learns that it goes on.
  if (start.onFrame === undefined) pokeWatchers(deps.bus, run.id);
  const forget = deps.liveRuns.add(identity.tokenId, controller);
  const outcome = drive(deps, turn, start.node).finally(() => {
    clearTimeout(timer);
    forget();
    deps.driving.end(run.id, controller);
    deps.liveLogs.close(run.id, log);
  });
  // Nobody may be waiting for it any more.
  outcome.catch((error) => deps.logger.info({ err: error, run_id: run.id }, "turn failed"));
  return {
    conversationId: run.conversationId,
    runId: run.id,
    agent: turn.agent.name,
    outcome,
    usage: () => turn.totalUsage,
    position: () => ({ seq: log.seq, units: log.units }),
  };
}

const ignore = () => {};

/**
 * What a key of idempotency stands for: the same request, whether its answer is streamed or not, since who lost a stream may ask for the whole. A background run
 * is another request than a message whose answer is waited for: it is sent to another path and answered with another resource.
 */
function hashOf(asked: NewMessage): Uint8Array {
  const { conversationId, message, agentType, model, concurrency, deadlineSeconds = 0, background = false } = asked;
  const text = JSON.stringify([conversationId, message, agentType, model, concurrency, deadlineSeconds, background]);
  return createHash("sha256").update(text).digest();
}

/** Tries a call that claims a run again while the journal does not answer; it knows the run by its id. */
async function beginRun(
  deps: TurnDeps,
  ctx: HandlerContext,
  request: Parameters<TurnDeps["journal"]["beginRun"]>[0],
): Promise<BeginRunResponse> {
  const until = Date.now() + beginPatienceMs;
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    try {
      return await deps.journal.beginRun(request, detached(ctx));
    } catch (error) {
      const reason = reasonOf(error);
      const mayPass = reason === ErrorReason.UNAVAILABLE || reason === ErrorReason.DATABASE_UNAVAILABLE;
      if (!mayPass || Date.now() + pauseMs > until) throw error;
      await delay(pauseMs);
    }
  }
}

/**
 * Stores a user's message and starts the turn that answers it, or leaves it to whoever drives it: later, behind another message of its
 * conversation, or in the background. The message is stored when this resolves.
 */
export async function startTurn(
  deps: TurnDeps,
  ctx: HandlerContext,
  message: NewMessage,
  onFrame?: (frame: RunFrame) => void,
): Promise<StartedTurn | AcceptedTurn> {
  const identity = requireIdentity(ctx);
  const chosen = message.agentType === "" ? undefined : agentNamed(message.agentType);
  const routed = agentNamed(routeMessage(message.message));
  // What the token may not use is refused before anything is stored. The agent of a conversation is known only after; the graph looks again.
  modelFor(deps, identity, message.model, chosen ?? routed);
  // What the choice rests on is stored with the message: another worker must come to the same one.
  const { background } = message;
  const asked: TurnState = { ...freshState, agent: chosen?.name ?? "", model: message.model, background };
  const idempotencyKey = idempotencyKeyOf(ctx);
  const runId = uuidv7();
  const { context, run, liveRunId, replayed } = await beginRun(deps, ctx, {
    runId,
    conversationId: message.conversationId,
    message: message.message,
    agentType: message.conversationId === "" ? message.agentType : "",
    ...versionFields(deps.graphVersions),
    deadlineSeconds: message.deadlineSeconds ?? Math.ceil(deps.runTimeoutMs / 1000),
    state: JSON.stringify(asked),
    workerId: deps.workerId,
    concurrency: message.concurrency,
    background,
    idempotencyKey,
    requestHash: idempotencyKey === "" ? undefined : hashOf(message),
  });
  if (context !== undefined) {
    return launch(deps, behalfOf(ctx), context, { node: "think", state: settledState(deps, asked, context), onFrame });
  }
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave neither a context nor a run");
  if (message.concurrency === "interrupt" && liveRunId !== "") {
    // Its turn comes when that one is cancelled; who waits for the answer does not wait for the receipts of another run.
    cancelRun(deps, { runId: liveRunId, reason: "interrupted", options: detached(ctx) }).catch((error) =>
      deps.logger.warn({ err: error, run_id: liveRunId }, "run was not interrupted"),
    );
  }
  // The one before it may have ended at this very moment.
  if (run.status === RunStatus.QUEUED) deps.dispatch(run.id);
  const isReplayed = replayed && run.id !== runId;
  if (isReplayed) ctx.responseHeader.set(idempotentReplayedHeader, "true");
  return { run, isReplayed };
}

const beginPatienceMs = 10_000;

/** The state with the agent and model that it leaves open: those of the conversation, else what the router makes of the user's message. */
function settledState(deps: TurnDeps, state: TurnState, context: RunContext): TurnState {
  const said = context.messages.findLast((message) => message.role === "user");
  const agent =
    findAgent(state.agent) ?? findAgent(context.conversation?.agentType ?? "") ?? agentNamed(routeMessage(said?.content ?? ""));
  return { ...state, agent: agent.name, model: state.model || agent.model || deps.defaultModel };
}

/**
 * Goes on with a claimed run that no call of its owner drives, on behalf of its owner, unless the signal has fired by then. Throws what minting a token throws: the
 * credential may have ended.
 */
export async function recoverTurn(deps: TurnDeps, context: RunContext, signal: AbortSignal): Promise<StartedTurn> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  const { userId, tokenId } = run;
  const { internalToken, identity } = await deps.tokens.mintInternalToken({ userId, tokenId }, { timeoutMs: 5_000, signal });
  signal.throwIfAborted();
  if (identity === undefined) throw fail(ErrorReason.INTERNAL, "auth minted a token without an identity");
  const node = run.node === "act" ? "act" : "think";
  return goOn(deps, { identity, headers: { [internalTokenHeader]: internalToken } }, context, node);
}

/** Drives a claimed run from where it stands. */
function goOn(deps: TurnDeps, behalf: Behalf, context: RunContext, node: "think" | "act"): StartedTurn {
  const stored = settledState(deps, readState(context.run?.state ?? ""), context);
  const state = node === "act" ? { ...stored, messageId: callsMessageId(stored, context.messages) } : stored;
  return launch(deps, behalf, context, { node, state });
}

/**
 * Decides on calls that a conversation waits for and goes on with its run, if nothing is left to decide. A run of a version that this process does not
 * drive is left to one that does.
 */
export async function decide(
  deps: TurnDeps,
  ctx: HandlerContext,
  decision: Omit<MessageInitShape<typeof DecideApprovalsRequestSchema>, "$typeName"> & { conversationId: string },
): Promise<{ conversation: Conversation | undefined; turn: StartedTurn | AcceptedTurn | undefined }> {
  const request = { ...decision, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { conversation, context, run } = await deps.journal.decideApprovals(request, detached(ctx));
  if (run !== undefined) return { conversation, turn: { run, from: { seq: run.seq, units: 0 } } };
  return { conversation, turn: context === undefined ? undefined : goOn(deps, behalfOf(ctx), context, "act") };
}

/** Goes on with a run whose calls a person has settled; one of a version that this process does not drive is left to one that does. */
export async function resumeReviewed(deps: TurnDeps, ctx: HandlerContext, runId: string): Promise<void> {
  const request = { runId, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { context } = await deps.journal.resumeRun(request, detached(ctx));
  if (context !== undefined) goOn(deps, behalfOf(ctx), context, "act");
}
