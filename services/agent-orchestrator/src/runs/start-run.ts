import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import type { BeginRunResponse, DecideApprovalsRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { type Run, type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { allows, requestIdHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";
import { forward } from "@turnwright/platform/rpc/forward";
import { idempotencyKeyOf } from "@turnwright/platform/rpc/idempotency-key";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { AgentDefinition } from "../agents/agents.ts";
import { routeMessage } from "../agents/router.ts";
import { freshState, type TurnState } from "../graph/state.ts";
import { versionFields } from "../graph/turn.ts";
import { isModelName, noModelName } from "../model/model-name.ts";
import type { RunFrame } from "../run-events/frame.ts";
import type { Position } from "../run-events/position.ts";
import { cancelRun } from "./cancel-run.ts";
import { agentNamed, behalfOf, launch, type Start, type StartedTurn, settledState, type TurnDeps } from "./launch.ts";
import { takeOver } from "./take-over.ts";

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

function modelFor(deps: TurnDeps, identity: Identity, asked: string, agent: AgentDefinition): string {
  if (!isModelName(asked)) throw fail(ErrorReason.INVALID_REQUEST, `model: ${noModelName}`, { param: "model" });
  const model = asked || agent.model || deps.defaultModel;
  if (allows(identity.allowedModels, model)) return model;
  throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(model)}.`, { param: "model" });
}

const traceHeaders = [requestIdHeader, "traceparent", "tracestate"];

/** By what the logs tell that a call set a run going; nothing of who made the call. */
function traceOf(ctx: HandlerContext): Record<string, string> {
  return Object.fromEntries(
    traceHeaders.flatMap((name) => {
      const value = ctx.requestHeader.get(name);
      return value === null ? [] : [[name, value]];
    }),
  );
}

const never = new AbortController().signal;

/**
 * For calls that claim or end a run: once begun, they end, so that no run is left claimed by nobody because its caller
 * went away.
 */
export function detached(ctx: HandlerContext): CallOptions {
  return forward(ctx, { signal: never, timeoutMs: 15_000 });
}

/**
 * What a key of idempotency stands for: the same request, whether its answer is streamed or not, since who lost a
 * stream may ask for the whole. A background run is another request than a message whose answer is waited for: it is
 * sent to another path and answered with another resource.
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
 * Stores a user's message and starts the turn that answers it, or leaves it to whoever drives it: later, behind another
 * message of its conversation, or in the background. The message is stored when this resolves.
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
  // What the token may not use is refused before anything is stored. The agent of a conversation is known only after;
  // the graph looks again.
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
    const start: Start = { node: "think", state: settledState(deps, asked, context), onFrame };
    if (!deps.liveRuns.hasHeardOf(identity.tokenId)) return launch(deps, behalfOf(ctx), context, start);
    // Told of while the message was on its way: auth knows what the credential still allows.
    return await goOn(deps, ctx, context, start);
  }
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave neither a context nor a run");
  if (message.concurrency === "interrupt" && liveRunId !== "") {
    // Its turn comes when that one is cancelled; who waits for the answer does not wait for the receipts of another
    // run.
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

/**
 * Goes on with a claimed run by what auth mints for who started it; one that goes on elsewhere, or has ended, is to be
 * followed.
 */
async function goOn(
  deps: TurnDeps,
  ctx: HandlerContext,
  context: RunContext,
  start?: Start,
): Promise<StartedTurn | AcceptedTurn> {
  const { run } = context;
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal gave a context without its run");
  // Only who begins a run is its starter.
  const secretVersion = start === undefined ? undefined : requireIdentity(ctx).secretVersion;
  const turn = await takeOver(deps, context, { start, headers: traceOf(ctx), secretVersion });
  return turn ?? { run, from: { seq: run.seq, units: 0 } };
}

/**
 * Decides on calls that a conversation waits for and goes on with its run, if nothing is left to decide. The decision
 * carries the caller's name; the run acts as who started it. A run of a version that this process does not drive is
 * left to one that does.
 */
export async function decide(
  deps: TurnDeps,
  ctx: HandlerContext,
  decision: Omit<MessageInitShape<typeof DecideApprovalsRequestSchema>, "$typeName"> & { conversationId: string },
): Promise<{ conversation: Conversation | undefined; turn: StartedTurn | AcceptedTurn | undefined }> {
  const request = { ...decision, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { conversation, context, run } = await deps.journal.decideApprovals(request, detached(ctx));
  if (run !== undefined) return { conversation, turn: { run, from: { seq: run.seq, units: 0 } } };
  return { conversation, turn: context === undefined ? undefined : await goOn(deps, ctx, context) };
}

/**
 * Goes on with a run whose calls a person has settled, as who started it; one of a version that this process does not
 * drive is left to one that does.
 */
export async function resumeReviewed(deps: TurnDeps, ctx: HandlerContext, runId: string): Promise<void> {
  const request = { runId, workerId: deps.workerId, ...versionFields(deps.graphVersions) };
  const { context } = await deps.journal.resumeRun(request, detached(ctx));
  if (context !== undefined) await goOn(deps, ctx, context);
}
