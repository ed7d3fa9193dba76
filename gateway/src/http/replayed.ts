import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import type { HeaderSink } from "./answer-headers.ts";

/** The response whose headers count; those of a stream are complete once its first message has arrived. */
export interface AnswerHead {
  readonly header: Headers;
}

/** Passes on that a response was replayed; only a call with an idempotency key can have been. */
export function passReplayed(
  sent: Headers | Readonly<Record<string, string>>,
  answer: AnswerHead | undefined,
  sink: HeaderSink,
): void {
  const hasKey = sent instanceof Headers ? sent.has(idempotencyKeyHeader) : idempotencyKeyHeader in sent;
  // Response headers are created on first access: most responses have none.
  const replayed = hasKey ? answer?.header.get(idempotentReplayedHeader) : undefined;
  if (typeof replayed === "string") sink.header(idempotentReplayedHeader, replayed);
}
