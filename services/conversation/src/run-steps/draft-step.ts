import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type RunStep, RunStepSchema } from "@turnwright/contract/conversation/v1/run_step";

/** A step in the making: `RunStep` with times in milliseconds since 1970. */
export interface DraftStep {
  readonly id: string;
  readonly kind: string;
  readonly parentId?: string;
  readonly node?: string;
  readonly name?: string;
  readonly model?: string;
  readonly callId?: string;
  readonly approvalId?: string;
  readonly provider?: string;
  readonly attempt?: number;
  readonly wakeMs?: number;
  status: string;
  startedMs?: number;
  endedMs?: number;
  worker?: string;
  promptTokens?: number;
  completionTokens?: number;
  costUsd?: number;
  /** Number of the log entry that tells of its beginning. */
  readonly firstSeq: number;
  /** Number of the log entry that tells of its end. */
  lastSeq?: number;
  error?: string;
  reason?: string;
}

const time = (ms: number | undefined) => (ms === undefined ? undefined : timestampFromMs(ms));

/** The step as clients get it. */
export function toRunStep(draft: DraftStep): RunStep {
  const { startedMs, endedMs, wakeMs, worker, reason, firstSeq, lastSeq, attempt = 1, ...step } = draft;
  return create(RunStepSchema, {
    ...step,
    attempt,
    workerId: worker,
    errorReason: reason,
    startedAt: time(startedMs),
    endedAt: time(endedMs),
    wakeAt: time(wakeMs),
    firstEventId: String(firstSeq),
    lastEventId: lastSeq === undefined ? "" : String(lastSeq),
  });
}
