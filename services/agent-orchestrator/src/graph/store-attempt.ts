import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import type { FailedAttempt } from "../model-calls/failed-attempt.ts";
import { formatPosition } from "../run-events/position.ts";
import { attemptFrames } from "../run-events/stored-frames.ts";
import type { DrivenRun } from "./driven-run.ts";

/** The position in which a failed attempt leaves its run: in the think step, whose model call is made again. */
interface AttemptPosition {
  readonly status: typeof RunStatus.RUNNING;
  readonly node: "think";
  readonly event: { readonly type: "model_attempt"; readonly payload: object };
}

/**
 * Stores a failed attempt of a model call, with the results of the tools before it, and tells the watchers. They drop
 * the text that they have got of the attempt.
 */
export async function storeAttempt(
  run: DrivenRun,
  commit: (position: AttemptPosition) => Promise<unknown>,
  { isShown, ...told }: FailedAttempt,
): Promise<void> {
  const payload = { ...told, is_shown: isShown };
  const { units } = run.log;
  // The tools' results, one unit each, were told before the attempt began.
  const valid = run.uncommitted.length;
  await commit({ status: RunStatus.RUNNING, node: "think", event: { type: "model_attempt", payload } });
  const { seq } = run.log;
  const frames = attemptFrames(payload, seq, valid);
  run.log.tell(
    frames.map((frame, index) => {
      const isLast = index === frames.length - 1;
      return { ...frame, eventId: formatPosition(isLast ? { seq, units: 0 } : { seq: seq - 1, units: units + index + 1 }) };
    }),
  );
}
