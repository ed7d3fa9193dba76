import type { UnaryResponse } from "@connectrpc/connect";
import { idempotentReplayedHeader } from "@turnwright/platform/postgres/idempotency";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import type { HeaderSink } from "./answer-headers.ts";

/** Says so when an answer was given before; only who sent a key of idempotency, among the headers of the call, may have had it. */
export function passReplayed(sent: Headers | Readonly<Record<string, string>>, answer: UnaryResponse, sink: HeaderSink): void {
  const hasKey = sent instanceof Headers ? sent.has(idempotencyKeyHeader) : idempotencyKeyHeader in sent;
  // Headers of answers are made when they are asked for: most have none.
  const replayed = hasKey ? answer.header.get(idempotentReplayedHeader) : null;
  if (replayed !== null) sink.header(idempotentReplayedHeader, replayed);
}
