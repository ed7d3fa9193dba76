import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { CallOutcome, type ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { openCalls } from "../graph/act.ts";
import { callsMessageId, readState } from "../graph/state.ts";
import type { ModelToolCall } from "../model/edge/chunk.ts";
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

/**
 * Cancels a run: first in the journal, which refuses its driver's commits from then on, then in its driver, then in the
 * executors, whose receipts are stored. Throws NOT_FOUND, RUN_ENDED.
 */
export async function cancelRun(
  deps: CancelDeps,
  asked: { runId: string; reason: "user" | "interrupted"; options: CallOptions },
): Promise<void> {
  const { runId, reason, options } = asked;
  const { context, nextRunId } = await deps.journal.cancelRun({ runId, reason }, options);
  void deps.bus.publish(cancelTopic, runId);
  pokeWatchers(deps.bus, runId);
  if (nextRunId !== "") deps.dispatch(nextRunId);
  const calls = context === undefined ? [] : callsWithoutResult(context);
  if (calls.length === 0) return;
  const names = new Map(calls.map((call) => [call.id, call.function.name]));
  const { receipts } = await deps.executions.cancelCalls({ runId, callIds: [...names.keys()] }, options);
  await deps.journal.recordReceipts(
    {
      runId,
      receipts: receipts.map(({ callId, outcome }) => ({
        callId,
        toolName: names.get(callId) ?? "",
        outcome: outcomes[outcome] ?? "unknown",
      })),
    },
    options,
  );
}
