import type { CallOptions, Client } from "@connectrpc/connect";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { RunContext } from "@turnwright/contract/conversation/v1/run";
import { CallOutcome, type ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { openCalls } from "../graph/act.ts";
import { callsMessageId, readState } from "../graph/state.ts";
import type { ModelToolCall } from "../model/chunk.ts";
import { pokeWatchers } from "../run-events/live-log.ts";

/** Where a run's driver hears that it was cancelled; the payload is the run's UUID. */
const cancelTopic = "run-cancel";

/** What cancelling stands on. */
export interface CancelDeps {
  readonly journal: Client<typeof JournalService>;
  readonly executions: Client<typeof ExecutionService>;
  readonly bus: Bus;
  /** The runs that this process drives. */
  readonly driving: ReadonlyMap<string, AbortController>;
  readonly dispatch: (runId: string) => void;
  readonly logger: Logger;
}

/** Stops runs of this process that are cancelled anywhere; resolves with the function that ends it. */
export async function listenForCancels(deps: Pick<CancelDeps, "bus" | "driving">): Promise<() => Promise<void>> {
  return await deps.bus.subscribe(cancelTopic, (runId) => {
    deps.driving.get(runId)?.abort(fail(ErrorReason.RUN_CANCELLED, "The run was cancelled."));
  });
}

const outcomes: Readonly<Partial<Record<CallOutcome, string>>> = {
  [CallOutcome.NOT_STARTED]: "not_started",
  [CallOutcome.ABORTED]: "aborted",
  [CallOutcome.COMPLETED]: "completed",
};

/** The calls of a run that have no answer in its record. */
function callsWithoutAnswer({ run, messages }: RunContext): ModelToolCall[] {
  const messageId = callsMessageId(readState(run?.state ?? ""), messages);
  // Without it: the run stood before its first answer, or between two rounds.
  return messages.some((message) => message.id === messageId) ? openCalls(messages, messageId) : [];
}

/**
 * Ends a run: in the journal first, which refuses what its driver commits from then on, then in its driver and in the executors, whose receipts are
 * kept. Throws NOT_FOUND, RUN_ENDED.
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
  const calls = context === undefined ? [] : callsWithoutAnswer(context);
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
