import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import type { ClaimedDelivery } from "../store/webhook-deliveries.ts";
import { parseRetryAfter } from "./retries.ts";
import { signatureHeaders } from "./signature.ts";

/** What became of one attempt. */
export interface Attempt {
  readonly delivered: boolean;
  /** HTTP status of the answer; 0: there was none. */
  readonly responseStatus: number;
  /** What was wrong, in words for the webhook's owner; empty when it was delivered. */
  readonly error: string;
  /** What the receiver asked for, in milliseconds. */
  readonly retryAfterMs?: number;
  /** The receiver wants no more of anything. */
  readonly gone: boolean;
}

/** What is posted: what became of which run. Ids and states only; whoever has the rights reads the rest. */
function messageBody(delivery: ClaimedDelivery): string {
  return JSON.stringify({
    type: delivery.event,
    timestamp: delivery.createdAt.toISOString(),
    data: {
      run_id: delivery.runId,
      conversation_id: delivery.conversationId,
      status: delivery.event.slice("run.".length),
      error: delivery.runError,
    },
  });
}

/** Posts a delivery once. Never rejects but when `signal` ends it: then nobody knows whether it was received. */
export async function attemptDelivery(
  outbound: Outbound,
  delivery: ClaimedDelivery,
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<Attempt> {
  const body = messageBody(delivery);
  const timeout = AbortSignal.timeout(options.timeoutMs);
  try {
    const { status, headers } = await outbound.send({
      url: delivery.url,
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...signatureHeaders(delivery.secrets, { id: delivery.id, sentAt: Date.now(), body }),
      },
      body,
      signal: AbortSignal.any([options.signal, timeout]),
      // Only its status counts; a short answer is read so that the connection can be used again.
      maxBytes: 1_024,
    });
    const delivered = status >= 200 && status < 300;
    return {
      delivered,
      responseStatus: status,
      error: delivered ? "" : `The receiver answered with ${status}.`,
      retryAfterMs: parseRetryAfter(headers["retry-after"], Date.now()),
      gone: status === 410,
    };
  } catch (error) {
    if (options.signal.aborted) throw error;
    return { delivered: false, responseStatus: 0, error: explain(error, timeout, options.timeoutMs), gone: false };
  }
}

function explain(error: unknown, timeout: AbortSignal, timeoutMs: number): string {
  if (timeout.aborted) return `No answer within ${timeoutMs / 1_000} s.`;
  const reason = reasonOf(error);
  const isOurs = reason === ErrorReason.INVALID_REQUEST || reason === ErrorReason.UNAVAILABLE;
  return isOurs && error instanceof Error && "rawMessage" in error ? String(error.rawMessage) : "The request failed.";
}
