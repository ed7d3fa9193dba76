import type { HandlerContext } from "@connectrpc/connect";
import { asReplayed, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Outcome } from "../graph/driver.ts";
import { usageMessage } from "../model/edge/chunk.ts";
import type { EventQueue } from "../run-events/event-queue.ts";
import { agentFields, type RunFrame } from "../run-events/frame.ts";
import { formatPosition, type Position, parsePosition } from "../run-events/position.ts";
import { watchRun } from "../run-events/watch-run.ts";
import type { RunDeps } from "./launch.ts";
import type { RunHandle } from "./run-handle.ts";

/** Response text and frame type while a run waits for an approval. */
export const pendingApproval = "pending_approval";

/** How a run left its driver: with the frame of its stored answer, or waiting for an approval. */
type RunEnd = { readonly status: "completed"; readonly finish: RunFrame } | { readonly status: "waiting" };

function reasonNamed(name = ""): ErrorReason {
  return ErrorReason[name as keyof typeof ErrorReason] ?? ErrorReason.INTERNAL;
}

/**
 * Yields the frames of a run from a position, or from its beginning, until it is answered or waits for an approval.
 * A repeated message therefore gets the answer that the first one got. Throws the reason why the run failed.
 */
async function* followedFrames(
  deps: RunDeps,
  ctx: HandlerContext,
  run: { runId: string; from: Position | undefined },
): AsyncGenerator<RunFrame, RunEnd> {
  let last: string | undefined;
  let isWaiting = false;
  for await (const { frame, status } of watchRun(deps, { ...deps.readers.of(ctx), ...run, signal: ctx.signal })) {
    last = status;
    // The last of the waiting calls has the position of the log entry itself.
    if (frame.type === pendingApproval && !frame.eventId?.includes(".")) isWaiting = true;
    if (frame.type === "finish") return { status: "completed", finish: frame };
    if (frame.type === "failed") throw fail(reasonNamed(frame.errorReason), frame.error ?? "The run failed.");
    if (frame.type === "cancelled") throw fail(ErrorReason.RUN_CANCELLED, "The run was cancelled.");
    if (frame.type === "needs_review") {
      throw fail(ErrorReason.TOOL_FAILED, "It is unknown whether a tool took effect; a person must look.");
    }
    yield frame;
    if (isWaiting) return { status: "waiting" };
  }
  ctx.signal.throwIfAborted();
  throw fail(ErrorReason.INTERNAL, `the run ended as ${last} without a frame that says so`);
}

/** Whether a driver stopped because another worker owns the run now: its waiting client follows the run there. */
function isElsewhere(error: unknown): boolean {
  return reasonOf(error) === ErrorReason.STALE_EPOCH;
}

/** The answer of a run: its stored message and that message's text. */
export interface Answer {
  readonly message: RunFrame["message"];
  readonly response: string;
}

async function followedAnswer(deps: RunDeps, ctx: HandlerContext, run: RunHandle): Promise<Answer | undefined> {
  const frames = followedFrames(deps, ctx, { runId: run.runId, from: run.position() });
  let step = await frames.next();
  while (!step.done) step = await frames.next();
  if (step.value.status === "waiting") return undefined;
  const { message } = step.value.finish;
  return { message, response: message?.content ?? "" };
}

/** Waits for a run's answer, whichever worker drives it; undefined when the run waits for an approval. */
export async function answerOf(deps: RunDeps, ctx: HandlerContext, run: RunHandle): Promise<Answer | undefined> {
  if (run.driven === undefined) {
    return await followedAnswer(deps, ctx, run).catch((error) => {
      throw run.isReplayed ? asReplayed(error) : error;
    });
  }
  try {
    const outcome = await run.driven.outcome;
    return outcome.status === "completed" ? { message: outcome.message, response: outcome.message.content } : undefined;
  } catch (error) {
    if (!isElsewhere(error)) throw error;
    return await followedAnswer(deps, ctx, run);
  }
}

/** The last frames of a run that this process drove. */
function* lastFrames(run: RunHandle, outcome: Outcome): Generator<RunFrame> {
  const usage = run.driven && usageMessage(run.driven.usage());
  const eventId = formatPosition(run.position() ?? { seq: 0, units: 0 });
  if (outcome.status === "completed") {
    yield { type: "finish", delta: outcome.finishReason, usage, message: outcome.message, eventId };
    return;
  }
  const calls = outcome.status === "waiting" ? outcome.calls : [];
  for (const call of calls) yield { type: pendingApproval, toolCall: call, eventId };
  yield { type: "finish", delta: pendingApproval, usage, eventId };
}

/**
 * Yields the frames of a run to its end. A run that this process drives puts its frames into `events`, the only place
 * that holds them for this client. A client that falls behind is served like any other watcher from there on.
 */
export async function* framesOf(
  deps: RunDeps,
  ctx: HandlerContext,
  run: RunHandle,
  events: EventQueue<RunFrame>,
): AsyncGenerator<RunFrame> {
  const { runId, conversationId, driven } = run;
  let from: Position | undefined;
  if (driven !== undefined) {
    driven.outcome.then(
      (outcome) => {
        for (const frame of lastFrames(run, outcome)) events.push(frame);
        events.end();
      },
      (error) => (isElsewhere(error) ? events.leave() : events.end(error)),
    );
    yield { type: "started", conversationId, runId, ...agentFields(driven.agent), eventId: "0" };
    let at: string | undefined;
    for await (const frame of events) {
      at = frame.eventId;
      yield frame;
    }
    if (!events.isIncomplete) return;
    from = parsePosition(at ?? "0");
  }
  const frames = followedFrames(deps, ctx, { runId, from });
  const first = await frames.next();
  if (!first.done) {
    // As the first stream began, before the run's row named its agent.
    const isUnnamed = first.value.type === "started" && !first.value.agentType;
    yield isUnnamed ? { ...first.value, ...agentFields(run.routedAgent) } : first.value;
  }
  const end = first.done ? first.value : yield* frames;
  yield end.status === "completed" ? end.finish : { type: "finish", delta: pendingApproval };
}
