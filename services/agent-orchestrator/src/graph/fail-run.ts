import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { isOutageOrTimeout } from "../outage.ts";
import { addUncommittedUsage, commit } from "./commit.ts";
import type { DrivenRun, GraphDeps } from "./driven-run.ts";
import { type ClaimedRun, type Failure, failureOf } from "./failure.ts";

/** Reasons for which this process no longer owns the run. */
const isLost: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.STALE_EPOCH,
  ErrorReason.RUN_CANCELLED,
  ErrorReason.RUN_HANDED_OVER,
]);

const abandonTimeoutMs = 5_000;

/** Ends a claimed run as failed, without a message of it and in no user's name. Throws STALE_EPOCH. */
export async function abandonRun(
  deps: Pick<GraphDeps, "journal">,
  { id: runId, epoch }: ClaimedRun,
  { reason, error }: Failure,
): Promise<void> {
  await deps.journal.abandonRun({ runId, epoch, reason, error }, { timeoutMs: abandonTimeoutMs });
}

/** The ways to store that a run has failed, each with less in it that the journal could refuse than the one before. */
function waysToEnd(deps: GraphDeps, run: DrivenRun, failure: Failure): (() => Promise<unknown>)[] {
  const { reason, error } = failure;
  const position = { status: RunStatus.FAILED, node: "respond", error, event: { type: "failed", payload: { reason, error } } };
  return [
    () => commit(deps, run, position),
    () => {
      run.uncommitted = [];
      return commit(deps, run, position);
    },
    () => abandonRun(deps, { id: run.runId, epoch: run.epoch }, failure).then(() => addUncommittedUsage(deps, run)),
  ];
}

/**
 * Ends a failed run and stores its uncommitted messages with it, or ends it without them when the journal refuses those
 * for good: a run left `running` would be claimed again and again, and the model paid each time. A lost run is left to
 * its new owner. During an outage the run keeps its status until this process or another worker claims it. It then goes
 * on after a failure that may pass; this process ends it after any other. Never rejects.
 */
export async function failRun(deps: GraphDeps, run: DrivenRun, error: unknown): Promise<void> {
  if (isLost.has(reasonOf(error))) {
    await addUncommittedUsage(deps, run);
    return;
  }
  const failure = failureOf(error);
  for (const end of waysToEnd(deps, run, failure)) {
    try {
      await end();
      return;
    } catch (refusal) {
      if (isLost.has(reasonOf(refusal))) {
        await addUncommittedUsage(deps, run);
        return;
      }
      const fields = () => ({ run_id: run.runId, conversation_id: run.conversationId });
      deps.failures.warn({ message: "the end of a run was not stored", subject: [], error: refusal, fields });
      if (isOutageOrTimeout(refusal)) break;
    }
  }
  // The reason of an abort is final, also where it is a deadline.
  if (run.signal.aborted || !isOutageOrTimeout(error)) deps.unended.add({ id: run.runId, epoch: run.epoch }, failure);
}
