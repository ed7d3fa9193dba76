import { create } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { type CallReceipt, CallReceiptSchema, type RunContext } from "@turnwright/contract/conversation/v1/run";
import { CallOutcome, type ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { type Bus, send } from "@turnwright/platform/ports/bus";
import { openCalls } from "../graph/act.ts";
import { callsMessageId, readState } from "../graph/state.ts";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { isRefusedForGood } from "../outage.ts";
import { pokeWatchers } from "../run-events/live-log.ts";

/** Bus topic that tells drivers of cancelled runs; the payload is the run's UUID. */
const cancelTopic = "run-cancel";

/** Dependencies of cancellation. */
export interface CancelDeps {
  readonly journal: Client<typeof JournalService>;
  readonly executions: Client<typeof ExecutionService>;
  readonly bus: Bus;
  /** The runs that this process owns. */
  readonly owned: ReadonlyMap<string, AbortController>;
  readonly dispatch: (runId: string) => void;
  readonly logger: Logger;
}

/** Stops runs of this process when any process cancels them; resolves with the function that ends the subscription. */
export async function listenForCancels(deps: Pick<CancelDeps, "bus" | "owned">): Promise<() => Promise<void>> {
  return await deps.bus.subscribe(cancelTopic, (runId) => {
    deps.owned.get(runId)?.abort(fail(ErrorReason.RUN_CANCELLED, "The run was cancelled."));
  });
}

const outcomes: Readonly<Partial<Record<CallOutcome, string>>> = {
  [CallOutcome.NOT_STARTED]: "not_started",
  [CallOutcome.ABORTED]: "aborted",
  [CallOutcome.COMPLETED]: "completed",
};

/** The calls of a run that have no result in its messages. */
function callsWithoutResult({ run, messages }: RunContext): ModelToolCall[] {
  const messageId = callsMessageId(readState(run?.state ?? ""), messages);
  // Not found: the run stood before its first answer, or between two rounds.
  return messages.some((message) => message.id === messageId) ? openCalls(messages, messageId) : [];
}

/** The most calls in one request to the executor, and the most receipts of a run. */
const [maxStopped, maxReceipts] = [128, 1_000];

/**
 * Has the executor stop calls; gives their outcomes. A call that the executor refuses to look at has the outcome
 * `unknown`: it does not keep the run from being cancelled.
 */
async function stopCalls(
  deps: CancelDeps,
  { runId, callIds, options }: { runId: string; callIds: readonly string[]; options: CallOptions },
): Promise<ReadonlyMap<string, string>> {
  const stopped = new Map<string, string>();
  for (let from = 0; from < callIds.length; from += maxStopped) {
    const some = callIds.slice(from, from + maxStopped);
    try {
      const { receipts } = await deps.executions.cancelCalls({ runId, callIds: some }, options);
      for (const { callId, outcome } of receipts) stopped.set(callId, outcomes[outcome] ?? "unknown");
    } catch (error) {
      if (!isRefusedForGood(error)) throw error;
      deps.logger.warn({ err: error, run_id: runId }, "the executor refused to stop calls of a cancelled run");
    }
  }
  return stopped;
}

/**
 * Cancels a run: first in the journal, which refuses its driver's commits from then on, then in its driver, then in the
 * executors, whose receipts are stored and returned. Throws NOT_FOUND, RUN_ENDED.
 */
export async function cancelRun(
  deps: CancelDeps,
  asked: { runId: string; reason: "user" | "interrupted"; options: CallOptions },
): Promise<CallReceipt[]> {
  const { runId, reason, options } = asked;
  const { context, nextRunId } = await deps.journal.cancelRun({ runId, reason }, options);
  send(deps.bus, cancelTopic, runId);
  pokeWatchers(deps.bus, runId);
  if (nextRunId !== "") deps.dispatch(nextRunId);
  const calls = context === undefined ? [] : callsWithoutResult(context);
  if (calls.length === 0) return [];
  const names = new Map(calls.map((call) => [call.id, call.function.name]));
  const stopped = await stopCalls(deps, { runId, callIds: [...names.keys()], options });
  const receipts = [...names].slice(0, maxReceipts).map(([callId, toolName]) => {
    return create(CallReceiptSchema, { callId, toolName, outcome: stopped.get(callId) ?? "unknown" });
  });
  await deps.journal.recordReceipts({ runId, receipts }, options);
  return receipts;
}
