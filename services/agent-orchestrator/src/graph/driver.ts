import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { ApprovalSchema, type Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf, ErrorReason, reasonName, reasonOf } from "@turnwright/platform/errors";
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
      usage: { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, totalTokens: usage.total_tokens },
      ...change,
    },
    await turn.options(),
  );
  turn.uncommitted = [];
  turn.usage = noUsage;
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

/**
 * Drives a claimed run from a node to its end or to a park. The only place that touches the journal: intents are committed before
 * anything is dispatched, an answer before anyone is told that the turn ended, a failure before it is thrown.
 */
export async function drive(deps: GraphDeps, turn: Turn, from: NodeName): Promise<Outcome> {
  let node: NodeName = from;
  try {
    for (;;) {
      if (node === "respond") throw new Error("The graph has no step after the response.");
      const step = await nodes[node](deps, turn);
      if ("park" in step) return await park(deps, turn, step.park);
      if ("end" in step) {
        const stored = await commit(deps, turn, {
          status: RunStatus.COMPLETED,
          node: "respond",
          events: [{ type: "completed", payload: JSON.stringify({ finish_reason: step.finishReason }) }],
        });
        const message = stored.find((candidate) => candidate.id === step.end.id) ?? step.end;
        return { status: "completed", message, finishReason: step.finishReason };
      }
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
  } catch (error) {
    await commitFailure(deps, turn, error);
    throw error;
  }
}

/** Ends a run that failed. What was said and done so far is stored with it; who has lost the run leaves it alone. */
async function commitFailure(deps: GraphDeps, turn: Turn, error: unknown): Promise<void> {
  if (reasonOf(error) === ErrorReason.STALE_EPOCH) return;
  const known = detailOf(error);
  const message = known === undefined ? "unexpected error" : (error as Error).message;
  await commit(deps, turn, {
    status: RunStatus.FAILED,
    node: "respond",
    error: message,
    events: [{ type: "failed", payload: JSON.stringify({ reason: reasonName(reasonOf(error)) }) }],
  }).catch(() => {
    // The journal is what failed; the run stays claimed until its deadline and is superseded by the next one.
  });
}
