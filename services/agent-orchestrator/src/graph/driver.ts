import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { ApprovalSchema, type Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf, ErrorReason, fail, reasonName, reasonOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { noUsage } from "../model/chunk.ts";
import { act } from "./act.ts";
import { think } from "./think.ts";
import type { GraphDeps, NodeName, Step, Turn } from "./turn.ts";

/** How a run left this process. */
export type Outcome =
  | { status: "completed"; message: Message; finishReason: string }
  /** Parked; nothing of it is left in memory. */
  | { status: "waiting" };

const nodes: Readonly<Record<Exclude<NodeName, "respond">, (deps: GraphDeps, turn: Turn) => Promise<Step>>> = { think, act };

const commitTimeoutMs = 15_000;

/** Where a commit leaves the run. */
type Position = Pick<
  Exclude<MessageInitShape<typeof CommitRunRequestSchema>, { $typeName: string }>,
  "status" | "node" | "events" | "approvals" | "error"
>;

/** Commits what gathered since the last commit together with the run's new position. */
async function commit(deps: GraphDeps, turn: Turn, change: Position): Promise<Message[]> {
  const messages = turn.uncommitted;
  const { usage, state } = turn;
  const toolCalls = messages.filter((message) => message.role === "tool").length;
  const { messages: stored } = await deps.journal.commitRun(
    {
      runId: turn.runId,
      epoch: turn.epoch,
      state: JSON.stringify(state),
      model: state.model,
      agent: state.agent,
      messages,
      toolCalls,
      cost: turn.costUsd,
      usage: { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, totalTokens: usage.total_tokens },
      ...change,
    },
    // A run that was told to stop still commits where it stands.
    { ...(await turn.options()), signal: undefined, timeoutMs: commitTimeoutMs },
  );
  turn.uncommitted = [];
  turn.usage = noUsage;
  turn.costUsd = 0;
  return stored;
}

/** Parks a run until a person decides: the calls become approvals, in the same commit as all that ran before. */
async function park(deps: GraphDeps, turn: Turn, calls: Extract<Step, { park: unknown }>["park"]): Promise<Outcome> {
  turn.state = { ...turn.state, waiting: calls.map((call) => call.id) };
  const specs = await deps.catalogue.specs(await turn.options());
  await commit(deps, turn, {
    status: RunStatus.WAITING,
    node: "act",
    events: [{ type: "parked", payload: JSON.stringify({ calls: turn.state.waiting }) }],
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
  for (const call of calls) turn.emit({ type: "pending_approval", call });
  return { status: "waiting" };
}

/** Ends a run for a person to settle: nobody knows whether these calls took effect, and they are never run again. */
async function review(deps: GraphDeps, turn: Turn, calls: Extract<Step, { review: unknown }>["review"]): Promise<Error> {
  await commit(deps, turn, {
    status: RunStatus.NEEDS_REVIEW,
    node: "act",
    events: [{ type: "needs_review", payload: JSON.stringify({ calls: calls.map((call) => call.id) }) }],
  });
  const names = [...new Set(calls.map((call) => call.function.name))].join(", ");
  return fail(ErrorReason.TOOL_FAILED, `Nobody knows whether ${names} took effect; a person must look.`);
}

async function complete(deps: GraphDeps, turn: Turn, step: Extract<Step, { end: unknown }>): Promise<Outcome> {
  const stored = await commit(deps, turn, {
    status: RunStatus.COMPLETED,
    node: "respond",
    events: [{ type: "completed", payload: JSON.stringify({ finish_reason: step.finishReason }) }],
  });
  const message = stored.find((candidate) => candidate.id === step.end.id) ?? step.end;
  return { status: "completed", message, finishReason: step.finishReason };
}

/** Goes from node to node until the run leaves this process; an error comes back when its end is committed already. */
async function walk(deps: GraphDeps, turn: Turn, from: NodeName): Promise<Outcome | Error> {
  let node: NodeName = from;
  for (;;) {
    if (node === "respond") throw new Error("The graph has no step after the response.");
    const step = await nodes[node](deps, turn);
    if ("park" in step) return await park(deps, turn, step.park);
    if ("review" in step) return await review(deps, turn, step.review);
    if ("end" in step) return await complete(deps, turn, step);
    turn.state = { ...turn.state, ...step.patch };
    if (step.commit === "intent") {
      await commit(deps, turn, {
        status: RunStatus.RUNNING,
        node: step.next,
        events: [{ type: "tool_intent", payload: JSON.stringify({ message_id: turn.state.messageId }) }],
      });
    }
    node = step.next;
  }
}

/** Reasons for which a run is somebody else's now. */
const isLost: ReadonlySet<ErrorReason> = new Set([ErrorReason.STALE_EPOCH, ErrorReason.RUN_HANDED_OVER]);

/** Ends a run that failed. What was said and done so far is stored with it; who has lost the run leaves it alone. */
async function commitFailure(deps: GraphDeps, turn: Turn, error: unknown): Promise<void> {
  if (isLost.has(reasonOf(error))) return;
  const known = detailOf(error);
  await commit(deps, turn, {
    status: RunStatus.FAILED,
    node: "respond",
    error: known === undefined ? "unexpected error" : (error as ConnectError).rawMessage,
    events: [{ type: "failed", payload: JSON.stringify({ reason: reasonName(reasonOf(error)) }) }],
  }).catch(() => {
    // The journal is what failed; the run stays claimed until its deadline and is superseded by the next one.
  });
}

/**
 * Drives a claimed run from a node to its end or to a park. The only place that touches the journal: intents are committed before
 * anything is dispatched, an answer before anyone is told that the turn ended, a failure before it is thrown.
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
