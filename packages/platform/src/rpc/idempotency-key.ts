import type { HandlerContext } from "@connectrpc/connect";

/** Carries the key under which a client may send the same request again: REST's header, and the metadata of the other protocols. */
export const idempotencyKeyHeader = "idempotency-key";

/** The key of a call; empty: none. */
export function idempotencyKeyOf(ctx: HandlerContext): string {
  return ctx.requestHeader.get(idempotencyKeyHeader) ?? "";
}
