import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import type { ClaimedDelivery } from "../store/webhook-deliveries.ts";
import { parseRetryAfter } from "./retries.ts";
import { signatureHeaders } from "./signature.ts";

/** The outcome of one attempt. */
export interface Attempt {
  readonly delivered: boolean;
  /** HTTP status of the response; 0: none. */
  readonly responseStatus: number;
  /** The fault, for the webhook's owner; empty when delivered. */
  readonly error: string;
  /** The error behind it, for the log; unset: the receiver answered. */
  readonly cause?: unknown;
  /** Milliseconds of the receiver's Retry-After. */
  readonly retryAfterMs?: number;
  /** Whether the receiver wants no further deliveries. */
  readonly gone: boolean;
}

/**
 * The body to post: a run and its status. It holds ids and states only; a receiver with the rights can read the rest.
 */
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

/** Posts a delivery once. Rejects only when `signal` fires; then it is unknown whether the receiver has the message. */
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
      // Only the status counts. A short response is read so that the connection can be reused.
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
    return { delivered: false, responseStatus: 0, error: explain(error, timeout, options.timeoutMs), cause: error, gone: false };
  }
}

function explain(error: unknown, timeout: AbortSignal, timeoutMs: number): string {
  if (timeout.aborted) return `No answer within ${timeoutMs / 1_000} s.`;
  const reason = reasonOf(error);
  const isOurs = reason === ErrorReason.INVALID_REQUEST || reason === ErrorReason.UNAVAILABLE;
  return isOurs && error instanceof Error && "rawMessage" in error ? String(error.rawMessage) : "The request failed.";
}
