import { create } from "@bufbuild/protobuf";
import { ApprovalSchema, type Message } from "@turnwright/contract/conversation/v1/conversation";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { retrying } from "@turnwright/platform/async/retrying";
import { detailOf, ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { isOutage, isOutageOrTimeout } from "../outage.ts";
import { act } from "./act.ts";
import { commit } from "./commit.ts";
import type { DrivenRun, GraphDeps, NodeName, Step, UnapprovedCall } from "./driven-run.ts";
import { failRun } from "./fail-run.ts";
import { failureOf } from "./failure.ts";
import { logDelayedRun } from "./log-failed-run.ts";
import { storeAttempt } from "./store-attempt.ts";
import { think } from "./think.ts";

/** How a run left its driver. */
export type Outcome =
  | { status: "completed"; message: Message; finishReason: string }
  /** Parked until a person has decided on these calls. The process keeps nothing of the run in memory. */
  | { status: "waiting"; calls: readonly ModelToolCall[] }
  /** Parked after a failure that may pass; a worker claims the run again when its pause is over. */
  | { status: "parked" };

const nodes: Readonly<Record<Exclude<NodeName, "respond">, (deps: GraphDeps, run: DrivenRun) => Promise<Step>>> = {
  think,
  act,
};

/** Parks a run until a person decides. Its open calls become approvals in the commit that stores the other results. */
async function park(deps: GraphDeps, run: DrivenRun, unapproved: readonly UnapprovedCall[]): Promise<Outcome> {
  const calls = unapproved.map(({ call }) => call);
  run.state = { ...run.state, waiting: calls.map((call) => call.id) };
  await commit(deps, run, {
    status: RunStatus.WAITING,
    node: "act",
    event: { type: "parked", payload: { calls: calls.map(loggedCall) } },
    approvals: unapproved.map(({ call, toolVersion }) =>
      create(ApprovalSchema, {
        id: uuidv7(),
        conversationId: run.conversationId,
        runId: run.runId,
        callId: call.id,
        toolName: call.function.name,
        toolVersion,
        arguments: call.function.arguments,
      }),
    ),
  });
  return { status: "waiting", calls };
}

function loggedCall({ id, function: { name, arguments: args } }: ModelToolCall) {
  return { id, name, arguments: args };
}

/** Parks a run for review: it is unknown whether these calls took effect, and they are never executed again. */
async function review(deps: GraphDeps, run: DrivenRun, calls: readonly ModelToolCall[]): Promise<Error> {
  await commit(deps, run, {
    status: RunStatus.NEEDS_REVIEW,
    node: "act",
    event: { type: "needs_review", payload: { calls: calls.map(loggedCall) } },
  });
  const names = [...new Set(calls.map((call) => call.function.name))].join(", ");
  return fail(ErrorReason.TOOL_FAILED, `It is unknown whether ${names} took effect; a person must look.`);
}

async function complete(deps: GraphDeps, run: DrivenRun, step: Extract<Step, { end: unknown }>): Promise<Outcome> {
  const stored = await commit(deps, run, {
    status: RunStatus.COMPLETED,
    node: "respond",
    finishReason: step.finishReason,
    event: { type: "completed", payload: { finish_reason: step.finishReason, ...step.streamed } },
  });
  const message = stored.find((candidate) => candidate.id === step.end.id) ?? step.end;
  return { status: "completed", message: { ...message, providerFields: "" }, finishReason: step.finishReason };
}

/** How long a step is repeated during an outage, in milliseconds from its first failure. */
const stepPatienceMs = 30_000;

/**
 * Takes a step and repeats it while another service is away. Tool calls that were under way are not executed twice: the
 * executor's ledger knows them. A think step that has already streamed part of an answer is not repeated.
 */
async function takeStep(deps: GraphDeps, run: DrivenRun, node: Exclude<NodeName, "respond">): Promise<Step> {
  let unitsBefore = 0;
  let until = Number.POSITIVE_INFINITY;
  return await retrying(
    () => {
      unitsBefore = run.log.units;
      return nodes[node](deps, run);
    },
    {
      mayPass(error) {
        until = Math.min(until, Date.now() + stepPatienceMs);
        return !run.signal.aborted && (node === "act" || run.log.units === unitsBefore) && isOutage(error);
      },
      patienceMs: () => until - Date.now(),
      longestMs: 1_000,
      // Outages may come in a rhythm.
      jitter: true,
      signal: run.signal,
    },
  );
}

/**
 * Takes steps until the run leaves this process. Returns an error, instead of throwing it, when the commit that belongs
 * to it has been made.
 */
async function walk(deps: GraphDeps, run: DrivenRun, from: NodeName): Promise<Outcome | Error> {
  let node: NodeName = from;
  for (;;) {
    if (node === "respond") throw new Error("The graph has no step after the response.");
    let step: Step;
    try {
      step = await takeStep(deps, run, node);
    } catch (error) {
      const parked = await parkForRetry(deps, run, node, error);
      if (parked === undefined) throw error;
      return parked;
    }
    if ("park" in step) return await park(deps, run, step.park);
    if ("review" in step) return await review(deps, run, step.review);
    if ("end" in step) return await complete(deps, run, step);
    run.state = { ...run.state, ...step.patch, retries: 0 };
    if (step.commit === "intent") {
      await commit(deps, run, {
        status: RunStatus.RUNNING,
        node: step.next,
        event: { type: "tool_intent", payload: { message_id: run.state.messageId, ...step.streamed } },
      });
    }
    node = step.next;
  }
}

const maxRetries = 5;
/** Reasons of a commit that is refused for good: the run then ends with the failure that it was to wait out. */
const ownRefusals: ReadonlySet<ErrorReason> = new Set([ErrorReason.INTERNAL, ErrorReason.ANSWER_TOO_LARGE]);
const modelFailures: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_FAILED,
  ErrorReason.MODEL_RATE_LIMITED,
  // The wait for a connection took too long.
  ErrorReason.MODEL_BUSY,
  ErrorReason.RATE_LIMITED,
]);

/**
 * Parks a background run after a failure that may pass; undefined when the failure ends the run. The pause stands in
 * the run's row, not in a timer: it doubles from 2 s, with jitter, and is never shorter than the endpoint's
 * Retry-After. A run that has streamed part of an answer is not retried, because watchers have that part already.
 */
async function parkForRetry(deps: GraphDeps, run: DrivenRun, node: NodeName, error: unknown): Promise<Outcome | undefined> {
  const { state } = run;
  const retries = (state.retries ?? 0) + 1;
  const isFinal = run.signal.aborted || retries > maxRetries || run.log.units > 0;
  if (!state.background || isFinal || !(isOutageOrTimeout(error) || modelFailures.has(reasonOf(error)))) return undefined;
  const backoffMs = 1_000 * 2 ** retries * (0.5 + Math.random());
  const wakeInMs = Math.round(Math.max(backoffMs, (detailOf(error)?.retryAfterSeconds ?? 0) * 1_000));
  run.state = { ...state, retries };
  const event = { type: "retrying", payload: { in_ms: wakeInMs, ...failureOf(error) } };
  try {
    await commit(deps, run, { status: RunStatus.QUEUED, node, wakeInMs, event });
  } catch (refusal) {
    if (ownRefusals.has(reasonOf(refusal))) return undefined;
    throw refusal;
  }
  logDelayedRun(deps, { ...run, model: state.model }, { error, inMs: wakeInMs });
  deps.dispatch(run.runId, wakeInMs);
  return { status: "parked" };
}

/**
 * Drives a claimed run from a node until it ends or parks. Nodes change the run in memory; only the driver commits. It
 * commits tool calls before they are executed, and an answer or a failure before the caller learns of it.
 */
export async function drive(deps: GraphDeps, run: DrivenRun, from: NodeName): Promise<Outcome> {
  let outcome: Outcome | Error;
  run.storeAttempt = (failed) => storeAttempt(run, (position) => commit(deps, run, position), failed);
  try {
    outcome = await walk(deps, run, from);
  } catch (thrown) {
    // The reason for the abort is the cause, whatever error the interrupted step threw.
    const error = run.signal.aborted ? run.signal.reason : thrown;
    await failRun(deps, run, error);
    throw error;
  }
  if (outcome instanceof Error) throw outcome;
  return outcome;
}
