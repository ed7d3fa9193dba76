import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { CallOutcome, type CallReceiptSchema, type CancelCallsRequest } from "@turnwright/contract/tool/v1/execution_service";
import { growingPauses } from "@turnwright/platform/async/retrying";
import { neverBegan } from "../calls/call-result.ts";
import { forestallCalls, type StoppedCall, type StoppingCall, stopCalls } from "../store/cancellations.ts";
import { refuseNul } from "./call-ids.ts";
import type { ExecutorDeps } from "./deps.ts";

type Receipt = MessageInitShape<typeof CallReceiptSchema>;

/** Time for running calls to stop: a lease renewal, by which other executors hear of it, and a tool's grace period. */
const patienceMs = 5_000;
const lookPauses = { firstMs: 25, longestMs: 250 };

/**
 * Stops calls of a run for good, in whichever executor they run, and reports what became of each. A call that did not
 * stop in time is UNKNOWN; a `read` call, whose outcome does not matter, is ABORTED.
 */
export async function cancelCalls(
  deps: ExecutorDeps,
  { runId, callIds }: CancelCallsRequest,
  { userId, tokenId }: Identity,
  signal: AbortSignal,
): Promise<Receipt[]> {
  refuseNul(callIds, "call_ids");
  const { pool, ledger, outageWatch } = deps;
  const run = { runId, userId, tokenId };
  const deadline = performance.now() + patienceMs;
  await forestallCalls(pool, run, callIds);
  let found = await stopCalls(pool, run, callIds, outageWatch.isSettled);
  if (callIds.some((callId) => found.get(callId)?.status === "running")) {
    const ended = new AbortController();
    const over = AbortSignal.any([signal, ended.signal]);
    await Promise.race([ledger.stop(run, callIds), delay(patienceMs, undefined, { signal: over }).catch(() => {})]);
    ended.abort();
    for (const pauseMs of growingPauses(lookPauses)) {
      found = await stopCalls(pool, run, callIds, outageWatch.isSettled);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || signal.aborted || ![...found.values()].some(({ status }) => status === "running")) break;
      await delay(Math.min(pauseMs, leftMs), undefined, { signal }).catch(() => {});
    }
  }
  return callIds.map((callId) => receiptOf(callId, found.get(callId)));
}

function receiptOf(callId: string, call: StoppedCall | StoppingCall | undefined): Receipt {
  if (call === undefined) return { callId, outcome: CallOutcome.NOT_STARTED, error: neverBegan };
  const error = call.status === "running" ? "" : (call.error ?? "");
  switch (call.status) {
    case "running":
      return call.isRead
        ? { callId, outcome: CallOutcome.ABORTED, error: "The call was told to stop." }
        : { callId, outcome: CallOutcome.UNKNOWN, error: "The call did not stop in time; nobody knows whether it takes effect." };
    case "cancelled":
      return { callId, outcome: call.began ? CallOutcome.ABORTED : CallOutcome.NOT_STARTED, error };
    case "unknown":
      return { callId, outcome: CallOutcome.UNKNOWN, error };
    case "success":
    case "failed":
      return { callId, outcome: CallOutcome.COMPLETED, output: call.output ?? "", error };
    default:
      return call satisfies never;
  }
}
