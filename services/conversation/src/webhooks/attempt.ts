import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import type { ClaimedDelivery } from "../store/webhook-deliveries.ts";
import { messageBody } from "./message.ts";
import { parseRetryAfter } from "./retries.ts";
import { signatureHeaders } from "./signature.ts";

/** The outcome of one attempt. */
export interface Attempt {
  readonly delivered: boolean;
  /** HTTP status of the response; 0: none. */
  readonly responseStatus: number;
  /** The beginning of the response's body, as text. */
  readonly responseBody: string;
  /** The fault, for the webhook's owner; empty when delivered. */
  readonly error: string;
  /** The error behind it, for the log; unset: the receiver answered. */
  readonly cause?: unknown;
  /** Milliseconds of the receiver's Retry-After. */
  readonly retryAfterMs?: number;
  /** Whether the receiver wants no further deliveries. */
  readonly gone: boolean;
}

/** Bytes of an answer that are kept. */
const maxAnswerBytes = 4_096;

/** Posts a delivery once. Rejects only when `signal` fires; then it is unknown whether the receiver has the message. */
export async function attemptDelivery(
  outbound: Outbound,
  delivery: ClaimedDelivery,
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<Attempt> {
  const body = messageBody(delivery);
  const timeout = AbortSignal.timeout(options.timeoutMs);
  try {
    const response = await outbound.send({
      url: delivery.url,
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...signatureHeaders(delivery.secrets, { id: delivery.id, sentAt: Date.now(), body }),
      },
      body,
      signal: AbortSignal.any([options.signal, timeout]),
      // Only the status counts; the owner sees the beginning. A response read to its end leaves the connection open.
      maxBytes: maxAnswerBytes,
    });
    const { status, headers } = response;
    const delivered = status >= 200 && status < 300;
    return {
      delivered,
      responseStatus: status,
      responseBody: asText(response.body),
      error: delivered ? "" : `The receiver answered with ${status}.`,
      retryAfterMs: parseRetryAfter(headers["retry-after"], Date.now()),
      gone: status === 410,
    };
  } catch (error) {
    if (options.signal.aborted) throw error;
    const words = explain(error, timeout, options.timeoutMs);
    return { delivered: false, responseStatus: 0, responseBody: "", error: words, cause: error, gone: false };
  }
}

/** Bytes of any kind as a text that the database takes. */
function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8").replaceAll("\0", "\ufffd");
}

function explain(error: unknown, timeout: AbortSignal, timeoutMs: number): string {
  if (timeout.aborted) return `No answer within ${timeoutMs / 1_000} s.`;
  const reason = reasonOf(error);
  const isOurs = reason === ErrorReason.INVALID_REQUEST || reason === ErrorReason.UNAVAILABLE;
  return isOurs && error instanceof Error && "rawMessage" in error ? String(error.rawMessage) : "The request failed.";
}
