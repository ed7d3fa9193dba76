import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { CallOutcome, type CallReceiptSchema, type CancelCallsRequest } from "@turnwright/contract/tool/v1/execution_service";
import { neverBegan } from "../store/calls.ts";
import { forestallCalls, type StoppedCall, type StoppingCall, stopCalls } from "../store/cancellations.ts";
import type { ExecutorParts } from "./deps.ts";
import { noNul } from "./execute-calls.ts";

type Receipt = MessageInitShape<typeof CallReceiptSchema>;

/** How long calls that run have to stop: a renewal of their leases, by which other executors learn of it, and a tool's grace. */
const patienceMs = 5_000;
const firstBackoffMs = 25;
const longestBackoffMs = 250;

/**
 * Stops calls of a run for good, wherever they run, and says what became of each. A call that did not stop in time is UNKNOWN, a `read` one,
 * whose outcome does not matter, ABORTED.
 */
export async function cancelCalls(
  parts: ExecutorParts,
  { runId, callIds }: CancelCallsRequest,
  { userId, tokenId }: Identity,
  signal: AbortSignal,
): Promise<Receipt[]> {
  noNul(callIds, "call_ids");
  const run = { runId, userId, tokenId };
  const deadline = performance.now() + patienceMs;
  await forestallCalls(parts.pool, run, callIds);
  let found = await stopCalls(parts.pool, run, callIds, parts.watch.isSettled);
  if (callIds.some((callId) => found.get(callId)?.status === "running")) {
    const ended = new AbortController();
    const over = AbortSignal.any([signal, ended.signal]);
    await Promise.race([parts.ledger.stop(run, callIds), delay(patienceMs, undefined, { signal: over }).catch(() => {})]);
    ended.abort();
    for (let backoffMs = firstBackoffMs; ; backoffMs = Math.min(backoffMs * 2, longestBackoffMs)) {
      found = await stopCalls(parts.pool, run, callIds, parts.watch.isSettled);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || signal.aborted || ![...found.values()].some(({ status }) => status === "running")) break;
      await delay(Math.min(backoffMs, leftMs), undefined, { signal }).catch(() => {});
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
