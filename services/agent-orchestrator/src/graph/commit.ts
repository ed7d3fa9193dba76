import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { type ModelUsage, noUsage, usageMessage } from "../model/edge/chunk.ts";
import { isOutageOrTimeout, isRefusedForGood } from "../outage.ts";
import type { DrivenRun, GraphDeps } from "./driven-run.ts";
import { failureText } from "./failure.ts";

const commitTimeoutMs = 15_000;
/** How long a commit is retried, in milliseconds: long enough for a database to restart. */
const commitPatienceMs = 60_000;

/** The fields of a commit that say where it leaves the run. */
export type Position = Pick<
  Exclude<MessageInitShape<typeof CommitRunRequestSchema>, { $typeName: string }>,
  "status" | "node" | "approvals" | "error" | "wakeInMs" | "finishReason"
> & { readonly event: { type: string; payload: object } };

/** The facts of a step that its log entry has besides its own, for the steps of the run: see `ListRunSteps`. */
function stepFacts(deps: GraphDeps, run: DrivenRun): object {
  const { promptTokens, completionTokens } = storedUsage(run.usage);
  const cost = storedCost(run.costUsd);
  const isFree = promptTokens === 0 && completionTokens === 0 && cost === 0;
  return {
    worker: run.namesWorker ? undefined : deps.workerId,
    spent: isFree ? undefined : { prompt_tokens: promptTokens, completion_tokens: completionTokens, cost_usd: cost },
    outcomes: run.outcomes.size === 0 ? undefined : [...run.outcomes],
  };
}

/** The largest count that the journal's columns hold. */
const maxCount = 2_147_483_647;

/** Counts as the journal's columns hold them: whole, and within 0 and 2^31 - 1. */
function storedUsage(usage: ModelUsage) {
  const stored = (count: number) => (Number.isFinite(count) ? Math.trunc(Math.min(Math.max(count, 0), maxCount)) : 0);
  const { promptTokens, completionTokens, totalTokens } = usageMessage(usage);
  return {
    promptTokens: stored(promptTokens),
    completionTokens: stored(completionTokens),
    totalTokens: stored(totalTokens),
  };
}

/** A cost as the journal adds it up: one that is not finite or below 0 would spoil every sum. */
function storedCost(costUsd: number): number {
  return Number.isFinite(costUsd) && costUsd > 0 ? costUsd : 0;
}

/** Without the run's signal: a run that was told to stop still commits its position. */
async function commitOptions(run: DrivenRun): Promise<CallOptions> {
  return { ...(await run.options()), signal: undefined, timeoutMs: commitTimeoutMs };
}

/** The most messages of a commit whose ages it names. */
const maxAges = 1_000;

/**
 * The ages of messages, in milliseconds. The journal takes them from its own time, so that the worker's clock need not
 * agree with the database's.
 */
function agesOf(messages: readonly Message[]): number[] {
  const now = Date.now();
  return messages.slice(0, maxAges).map(({ createdAt }) => {
    const age = createdAt === undefined ? 0 : Math.round(now - timestampMs(createdAt));
    return Math.min(Math.max(age, 0), maxCount);
  });
}

/** The error of a refused commit. The caller's request is not at fault, so it does not carry the journal's reason. */
function refusedCommit(error: unknown): unknown {
  if (!isRefusedForGood(error)) return error;
  const reason = reasonOf(error) === ErrorReason.TOO_LARGE ? ErrorReason.ANSWER_TOO_LARGE : ErrorReason.INTERNAL;
  return fail(reason, `A step of the run could not be stored: ${failureText(error)}`, { cause: error });
}

/**
 * Commits the changes since the last commit together with the run's new position, and returns the messages as stored.
 * Safe to repeat while the journal is away: the journal recognizes a commit by the sequence number of its log entry.
 * Throws INTERNAL or ANSWER_TOO_LARGE, with the cause in words, when the journal refuses the step for good.
 */
export async function commit(deps: GraphDeps, run: DrivenRun, { event, ...change }: Position): Promise<Message[]> {
  const messages = run.uncommitted;
  const { usage, state } = run;
  const toolCalls = messages.filter((message) => message.role === "tool").length;
  const request = {
    runId: run.runId,
    epoch: run.epoch,
    seq: run.log.seq,
    state: JSON.stringify(state),
    graphVersion: deps.graphVersions.newest,
    model: state.model,
    agent: state.agent,
    messages,
    toolCalls,
    cost: storedCost(run.costUsd),
    usage: storedUsage(usage),
    events: [
      { type: event.type, payload: JSON.stringify({ ...event.payload, ...stepFacts(deps, run) }), messages: messages.length },
    ],
    ...change,
  };
  const send = async () => {
    const options = await commitOptions(run);
    return await deps.journal.commitRun({ ...request, messageAgesMs: agesOf(messages) }, options);
  };
  const patience = { mayPass: isOutageOrTimeout, patienceMs: commitPatienceMs, longestMs: 1_000, jitter: true };
  const committed = await retrying(send, patience).catch((error: unknown) => {
    throw refusedCommit(error);
  });
  run.uncommitted = [];
  run.outcomes.clear();
  run.namesWorker = true;
  run.usage = noUsage;
  run.costUsd = 0;
  run.log.committed(committed.seq);
  if (committed.nextRunId !== "") deps.dispatch(committed.nextRunId);
  return committed.messages;
}

/** Adds the uncommitted usage of a lost run to its row. Tried once, because a repeated call might count it twice. */
export async function addUncommittedUsage(deps: GraphDeps, run: DrivenRun): Promise<void> {
  const { usage, costUsd } = run;
  if (usage.total_tokens === 0) return;
  run.usage = noUsage;
  run.costUsd = 0;
  try {
    const request = { runId: run.runId, usage: storedUsage(usage), cost: storedCost(costUsd) };
    await deps.journal.addRunUsage(request, await commitOptions(run));
  } catch (error) {
    const fields = () => ({ run_id: run.runId, conversation_id: run.conversationId });
    deps.failures.warn({ message: "the usage of a lost run was not recorded", subject: [], error, fields });
  }
}
