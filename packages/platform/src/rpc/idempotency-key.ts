import type { HandlerContext } from "@connectrpc/connect";

/** Carries the client's idempotency key: the REST header, and metadata of the same name on the other protocols. */
export const idempotencyKeyHeader = "idempotency-key";

/** The idempotency key of a call; empty when there is none. */
export function idempotencyKeyOf(ctx: HandlerContext): string {
  return ctx.requestHeader.get(idempotencyKeyHeader) ?? "";
}
