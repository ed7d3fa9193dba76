import { createHash } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { MessagePart } from "@turnwright/contract/conversation/v1/conversation";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows, requireIdentity } from "@turnwright/platform/identity/identity";
import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";
import { idempotencyKeyOf } from "@turnwright/platform/rpc/idempotency-key";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type AgentDefinition, agentNamed, routedAgent } from "../agents/agents.ts";
import { freshState, type RunState, type TrialCall } from "../graph/state.ts";
import { versionFields } from "../graph/versions.ts";
import { imagesRefused } from "../history/image-refusals.ts";
import { invalidModelName, isModelName } from "../model/model-name.ts";
import { isOutage } from "../outage.ts";
import type { RunFrame } from "../run-events/frame.ts";
import { callerAsStarter, detached } from "./caller.ts";
import { cancelRun } from "./cancel-run.ts";
import { launch, type RunDeps, type Start, settleAgent } from "./launch.ts";
import { checkParts, hasImage } from "./message-parts.ts";
import { followedHandle, type RunHandle } from "./run-handle.ts";
import { resumeClaimed } from "./take-over.ts";

/** A user's message. */
export interface NewMessage {
  /** Empty: a new conversation. */
  readonly conversationId: string;
  readonly message: string;
  /** Texts and images behind the message. */
  readonly parts?: readonly MessagePart[];
  readonly agentType: string;
  readonly model: string;
  /** Handling while another message of the conversation is being answered; empty: queued behind it. */
  readonly concurrency: string;
  /** No client waits for the answer. */
  readonly background?: boolean;
  /** How long the run may take; unset: as configured. */
  readonly deadlineSeconds?: number;
  /** The run is a trial of a tool, without a model. */
  readonly trial?: TrialCall;
  /** The run whose message this is once more; unset: the message is new. */
  readonly retry?: Retry;
}

/** A run that is made again. */
export interface Retry {
  /** UUID of the old run. */
  readonly of: string;
  /** UUID that the new run gets. */
  readonly runId: string;
}

/**
 * Refuses a model that the token may not use or that there is not, before anything is stored. The conversation may
 * still bring another agent, which is known only after BeginRun; the think node therefore checks the model again.
 */
function checkModel(
  deps: RunDeps,
  identity: Identity,
  { model: asked, parts = [] }: Pick<NewMessage, "model" | "parts">,
  agent: AgentDefinition,
): void {
  if (!isModelName(asked)) throw fail(ErrorReason.INVALID_REQUEST, `model: ${invalidModelName}`, { param: "model" });
  const model = asked || agent.model || deps.defaultModel;
  if (!allows(identity.allowedModels, model)) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(model)}.`, { param: "model" });
  }
  deps.modelCalls.firstTarget(model);
  if (hasImage(parts) && deps.takesImages(model) === false) throw imagesRefused(model);
}

/**
 * Hash of the request for its idempotency key. A streamed request and one that is answered as a whole are the same
 * request: a client that lost its stream may ask for the whole answer. A background run is another request, because it
 * is sent to another path and answered with another resource.
 */
function hashOf(asked: NewMessage): Uint8Array {
  const { conversationId, message, parts = [], agentType, model, concurrency, deadlineSeconds = 0, background = false } = asked;
  const { trial, retry } = asked;
  const sent = [conversationId, message, agentType, model, concurrency, deadlineSeconds, background];
  const further = [
    ...(parts.length === 0 ? [] : [parts.map((part) => [part.type, part.text, part.imageUrl])]),
    ...(trial === undefined ? [] : [trial.name, trial.arguments]),
  ];
  // Hashes of requests without parts and trials stay those of earlier releases. A retry names nothing but its run.
  const text = JSON.stringify(retry === undefined ? [...sent, ...further] : ["retry", retry.of]);
  return createHash("sha256").update(text).digest();
}

const beginPatienceMs = 10_000;

/**
 * Stores a user's message and starts the run that answers it. The run stays queued when it is a background run or
 * another message of its conversation comes first. The message is stored when this resolves.
 */
export async function startRun(
  deps: RunDeps,
  ctx: HandlerContext,
  message: NewMessage,
  onFrame?: (frame: RunFrame) => void,
): Promise<RunHandle> {
  const identity = requireIdentity(ctx);
  const { agentType, model, background, parts = [] } = message;
  const agent = agentType === "" ? routedAgent(message.message) : agentNamed(agentType);
  checkParts(parts);
  if (message.trial === undefined) checkModel(deps, identity, message, agent);
  // Stored with the message, so that another worker settles on the same agent and model.
  const idempotencyKey = idempotencyKeyOf(ctx);
  const isKeyed = idempotencyKey === "" ? undefined : true;
  const routed = agentType === "" ? agent.name : undefined;
  const { trial } = message;
  const asked: RunState = { ...freshState, agent: agentType, model, background, isKeyed, routed, trial };
  const runId = message.retry?.runId ?? uuidv7();
  const request = {
    runId,
    conversationId: message.conversationId,
    message: message.message,
    parts: [...parts],
    agentType: message.conversationId === "" ? agentType : "",
    ...versionFields(deps.graphVersions),
    deadlineSeconds: message.deadlineSeconds ?? Math.ceil(deps.runTimeoutMs / 1000),
    state: JSON.stringify(asked),
    workerId: deps.workerId,
    concurrency: message.concurrency,
    background,
    idempotencyKey,
    requestHash: idempotencyKey === "" ? undefined : hashOf(message),
  };
  // Safe to repeat: the journal recognizes the run by its id.
  const begin = () => deps.journal.beginRun(request, detached(ctx));
  const { context, run, liveRunId, replayed } = await retrying(begin, { mayPass: isOutage, patienceMs: beginPatienceMs });
  if (context !== undefined) {
    const start: Start = { node: "think", ...settleAgent(deps, asked, context, agent), onFrame };
    if (!deps.runsByToken.hasHeardOf(identity.tokenId)) return launch(deps, callerAsStarter(ctx), context, start);
    // The credential ended or changed while the message was on its way: auth knows what it still allows.
    return await resumeClaimed(deps, ctx, context, start);
  }
  if (run === undefined) throw fail(ErrorReason.INTERNAL, "the journal returned neither a context nor a run");
  if (message.concurrency === "interrupt" && liveRunId !== "") {
    // In the background: the new run starts once the live one is cancelled, and its caller need not wait for the
    // receipts of that one's calls.
    cancelRun(deps, { runId: liveRunId, reason: "interrupted", options: detached(ctx) }).catch((error) =>
      deps.logger.warn({ err: error, run_id: liveRunId }, "run was not interrupted"),
    );
  }
  // The run before it may have ended meanwhile.
  if (run.status === RunStatus.QUEUED) deps.dispatch(run.id);
  // A run of its own id is this request's, sent again after a lost answer. All retries of a run have one id.
  const isReplayed = replayed && (run.id !== runId || message.retry !== undefined);
  if (isReplayed) ctx.responseHeader.set(idempotentReplayedHeader, "true");
  return followedHandle(run, { isReplayed, routedAgent: isReplayed ? agent.name : undefined });
}
