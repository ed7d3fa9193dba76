import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import { clientAddressHeader, internalTokenHeader, requestIdHeader } from "../identity/identity.ts";

const forwarded = [internalTokenHeader, requestIdHeader, clientAddressHeader, "traceparent", "tracestate"];

/**
 * Call options for a call that a handler makes on behalf of its own: they carry identity, request id, trace context,
 * the remaining deadline and the abort signal. `timeoutMs` can shorten the deadline, never extend it; `signal` replaces
 * the handler's, for work that outlives the handler.
 */
export function forward(ctx: HandlerContext, init: { timeoutMs?: number; signal?: AbortSignal } = {}): CallOptions {
  const headers: Record<string, string> = {};
  for (const name of forwarded) {
    const value = ctx.requestHeader.get(name);
    if (value !== null) headers[name] = value;
  }
  const remaining = init.signal === undefined ? ctx.timeoutMs() : undefined;
  const timeoutMs =
    remaining === undefined ? init.timeoutMs : init.timeoutMs === undefined ? remaining : Math.min(remaining, init.timeoutMs);
  return { headers, signal: init.signal ?? ctx.signal, timeoutMs };
}
