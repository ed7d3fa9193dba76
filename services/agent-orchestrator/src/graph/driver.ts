import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { ApprovalSchema, type Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf, ErrorReason, fail, reasonName, reasonOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type ModelToolCall, noUsage, usageMessage } from "../model/chunk.ts";
import { act } from "./act.ts";
import { think } from "./think.ts";
import type { GraphDeps, NodeName, Step, Turn } from "./turn.ts";

/** How a run left this process. */
export type Outcome =
  | { status: "completed"; message: Message; finishReason: string }
  /** Parked until a person has decided on these calls; nothing of it is left in memory. */
  | { status: "waiting"; calls: readonly ModelToolCall[] }
  /** Parked after a failure that may pass; somebody tries it again. */
  | { status: "parked" };

const nodes: Readonly<Record<Exclude<NodeName, "respond">, (deps: GraphDeps, turn: Turn) => Promise<Step>>> = { think, act };

const commitTimeoutMs = 15_000;
/** How long a commit is tried: a database that is started again is back by then. */
const commitPatienceMs = 60_000;
const passing: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UNAVAILABLE,
  ErrorReason.DATABASE_UNAVAILABLE,
  ErrorReason.DEADLINE_EXCEEDED,
]);

/** Where a commit leaves the run. */
type Position = Pick<
  Exclude<MessageInitShape<typeof CommitRunRequestSchema>, { $typeName: string }>,
  "status" | "node" | "approvals" | "error" | "wakeInMs"
> & { readonly event: { type: string; payload: object } };

/**
 * Commits what gathered since the last commit together with the run's new position. Tried again while the journal does
 * not answer: it knows by the number of the entry what it has committed already.
 */
async function commit(deps: GraphDeps, turn: Turn, { event, ...change }: Position): Promise<Message[]> {
  const messages = turn.uncommitted;
  const { usage, state } = turn;
  const toolCalls = messages.filter((message) => message.role === "tool").length;
  const request = {
    runId: turn.runId,
    epoch: turn.epoch,
    seq: turn.log.seq,
    state: JSON.stringify(state),
    graphVersion: deps.graphVersions.newest,
    model: state.model,
    agent: state.agent,
    messages,
    toolCalls,
    cost: turn.costUsd,
    usage: { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, totalTokens: usage.total_tokens },
    events: [{ type: event.type, payload: JSON.stringify(event.payload), messages: messages.length }],
    ...change,
  };
  const until = Date.now() + commitPatienceMs;
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    try {
      // A run that was told to stop still commits where it stands.
      const options = { ...(await turn.options()), signal: undefined, timeoutMs: commitTimeoutMs };
      const { messages: stored, seq, nextRunId } = await deps.journal.commitRun(request, options);
      turn.uncommitted = [];
      turn.usage = noUsage;
      turn.costUsd = 0;
      turn.log.committed(seq);
      if (nextRunId !== "") deps.dispatch(nextRunId);
      return stored;
    } catch (error) {
      if (!passing.has(reasonOf(error)) || Date.now() + pauseMs > until) throw error;
      await delay(pauseMs);
    }
  }
}

/** Parks a run until a person decides: the calls become approvals, in the same commit as all that ran before. */
async function park(deps: GraphDeps, turn: Turn, calls: Extract<Step, { park: unknown }>["park"]): Promise<Outcome> {
  turn.state = { ...turn.state, waiting: calls.map((call) => call.id) };
  const specs = await deps.catalogue.specs(await turn.options());
  await commit(deps, turn, {
    status: RunStatus.WAITING,
    node: "act",
    event: { type: "parked", payload: { calls: calls.map(loggedCall) } },
    approvals: calls.map((call) =>
      create(ApprovalSchema, {
        id: uuidv7(),
        conversationId: turn.conversationId,
        runId: turn.runId,
        callId: call.id,
        toolName: call.function.name,
        toolVersion: specs.get(call.function.name)?.version ?? "",
        arguments: call.function.arguments,
      }),
    ),
  });
  return { status: "waiting", calls };
}

function loggedCall({ id, function: { name, arguments: args } }: ModelToolCall) {
  return { id, name, arguments: args };
}

/** Ends a run for a person to settle: nobody knows whether these calls took effect, and they are never run again. */
async function review(deps: GraphDeps, turn: Turn, calls: Extract<Step, { review: unknown }>["review"]): Promise<Error> {
  await commit(deps, turn, {
    status: RunStatus.NEEDS_REVIEW,
    node: "act",
    event: { type: "needs_review", payload: { calls: calls.map(loggedCall) } },
  });
  const names = [...new Set(calls.map((call) => call.function.name))].join(", ");
  return fail(ErrorReason.TOOL_FAILED, `Nobody knows whether ${names} took effect; a person must look.`);
}

async function complete(deps: GraphDeps, turn: Turn, step: Extract<Step, { end: unknown }>): Promise<Outcome> {
  const stored = await commit(deps, turn, {
    status: RunStatus.COMPLETED,
    node: "respond",
    event: { type: "completed", payload: { finish_reason: step.finishReason } },
  });
  const message = stored.find((candidate) => candidate.id === step.end.id) ?? step.end;
  return { status: "completed", message, finishReason: step.finishReason };
}

/** How long a part of the mesh may be away before a step fails for it; what went well before that does not count. */
const awayPatienceMs = 30_000;
const away: ReadonlySet<ErrorReason> = new Set([ErrorReason.UNAVAILABLE, ErrorReason.DATABASE_UNAVAILABLE]);

/**
 * Takes a step; again while a part of the mesh is away. Calls of tools that were under way are not run twice: the
 * ledger of executions knows them. What has said something of an answer is not begun again.
 */
async function take(deps: GraphDeps, turn: Turn, node: Exclude<NodeName, "respond">): Promise<Step> {
  let until = Number.POSITIVE_INFINITY;
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    const { units } = turn.log;
    try {
      return await nodes[node](deps, turn);
    } catch (error) {
      const isRepeatable = !turn.signal.aborted && (node === "act" || turn.log.units === units);
      until = Math.min(until, Date.now() + awayPatienceMs);
      if (!isRepeatable || !away.has(reasonOf(error)) || Date.now() + pauseMs > until) throw error;
      await delay(pauseMs, undefined, { signal: turn.signal });
    }
  }
}

/** Goes from node to node until the run leaves this process; an error comes back when its end is committed already. */
async function walk(deps: GraphDeps, turn: Turn, from: NodeName): Promise<Outcome | Error> {
  let node: NodeName = from;
  for (;;) {
    if (node === "respond") throw new Error("The graph has no step after the response.");
    let step: Step;
    try {
      step = await take(deps, turn, node);
    } catch (error) {
      const parked = await retryLater(deps, turn, node, error);
      if (parked === undefined) throw error;
      return parked;
    }
    if ("park" in step) return await park(deps, turn, step.park);
    if ("review" in step) return await review(deps, turn, step.review);
    if ("end" in step) return await complete(deps, turn, step);
    turn.state = { ...turn.state, ...step.patch, retries: 0 };
    if (step.commit === "intent") {
      await commit(deps, turn, {
        status: RunStatus.RUNNING,
        node: step.next,
        event: { type: "tool_intent", payload: { message_id: turn.state.messageId } },
      });
    }
    node = step.next;
  }
}

const maxRetries = 5;
const mayPass: ReadonlySet<ErrorReason> = new Set([...passing, ErrorReason.MODEL_FAILED, ErrorReason.MODEL_RATE_LIMITED]);

/**
 * Parks a run that nobody waits for after a failure that may pass, as a row and not as a timer: seconds that double,
 * with jitter, or what the model's endpoint asks for. Not after the first words of an answer: who watches has them
 * already.
 */
async function retryLater(deps: GraphDeps, turn: Turn, node: NodeName, error: unknown): Promise<Outcome | undefined> {
  const { state } = turn;
  const retries = (state.retries ?? 0) + 1;
  const isOver = turn.signal.aborted || retries > maxRetries || turn.log.units > 0;
  if (!state.background || isOver || !mayPass.has(reasonOf(error))) return undefined;
  const known = detailOf(error);
  const backoffMs = 1_000 * 2 ** retries * (0.5 + Math.random());
  const wakeInMs = Math.round(Math.max(backoffMs, (known?.retryAfterSeconds ?? 0) * 1_000));
  turn.state = { ...state, retries };
  const message = known === undefined ? "unexpected error" : (error as ConnectError).rawMessage;
  await commit(deps, turn, {
    status: RunStatus.QUEUED,
    node,
    wakeInMs,
    event: { type: "retrying", payload: { in_ms: wakeInMs, error: message } },
  });
  deps.dispatch(turn.runId, wakeInMs);
  return { status: "parked" };
}

/** Reasons for which a run is somebody else's now, or nobody's. */
const isLost: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.STALE_EPOCH,
  ErrorReason.RUN_CANCELLED,
  ErrorReason.RUN_HANDED_OVER,
]);

/** Adds what a lost run used since its last commit to its record. Tried once: twice, it might count twice. */
async function addUsage(deps: GraphDeps, turn: Turn): Promise<void> {
  const { usage, costUsd: cost } = turn;
  if (usage.total_tokens === 0) return;
  turn.usage = noUsage;
  turn.costUsd = 0;
  try {
    const options = { ...(await turn.options()), signal: undefined, timeoutMs: commitTimeoutMs };
    await deps.journal.addRunUsage({ runId: turn.runId, usage: usageMessage(usage), cost }, options);
  } catch (error) {
    deps.logger.warn({ err: error, run_id: turn.runId }, "what a lost run used is not in its record");
  }
}

/**
 * Ends a run that failed. What was said and done so far is stored with it. Where the journal refuses that for good, the
 * run ends without it: a run that stayed `running` would be claimed again and again, and the model paid each time. A
 * driver that has lost the run leaves it alone.
 */
async function commitFailure(deps: GraphDeps, turn: Turn, error: unknown): Promise<void> {
  if (isLost.has(reasonOf(error))) {
    await addUsage(deps, turn);
    return;
  }
  const known = detailOf(error);
  const message = known === undefined ? "unexpected error" : (error as ConnectError).rawMessage;
  const position = {
    status: RunStatus.FAILED,
    node: "respond",
    error: message,
    event: { type: "failed", payload: { reason: reasonName(reasonOf(error)), error: message } },
  };
  try {
    await commit(deps, turn, position);
  } catch (refusal) {
    const reason = reasonOf(refusal);
    if (isLost.has(reason)) await addUsage(deps, turn);
    // The journal is what failed: the run is claimed anew when it answers again.
    if (isLost.has(reason) || passing.has(reason)) return;
    turn.uncommitted = [];
    await commit(deps, turn, position).catch((again: unknown) => {
      deps.logger.error({ err: again, run_id: turn.runId }, "a run could not be ended; its next worker tries it again");
    });
  }
}

/**
 * Drives a claimed run from a node to its end or to a park. The only place that touches the journal: intents are
 * committed before anything is dispatched, an answer before anyone is told that the turn ended, a failure before it is
 * thrown.
 */
export async function drive(deps: GraphDeps, turn: Turn, from: NodeName): Promise<Outcome> {
  let outcome: Outcome | Error;
  try {
    outcome = await walk(deps, turn, from);
  } catch (thrown) {
    // What stopped the run is why it failed, however the step that was under way puts it.
    const error = turn.signal.aborted ? turn.signal.reason : thrown;
    await commitFailure(deps, turn, error);
    throw error;
  }
  if (outcome instanceof Error) throw outcome;
  return outcome;
}
