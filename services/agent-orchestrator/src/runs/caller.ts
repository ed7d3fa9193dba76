import type { CallOptions, HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { requestIdHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { forward } from "@turnwright/platform/rpc/forward";

/** The starter of a run: the identity that the run acts as, and the headers of its calls. */
export interface Starter {
  readonly identity: Identity;
  readonly headers: Readonly<Record<string, string>>;
}

/** The caller as the starter of a run. */
export function callerAsStarter(ctx: HandlerContext): Starter {
  return { identity: requireIdentity(ctx), headers: forward(ctx).headers as Record<string, string> };
}

const traceHeaders = [requestIdHeader, "traceparent", "tracestate"];

/** Headers that link a run's logs to the call that resumed it. They say nothing about the caller's identity. */
export function traceOf(ctx: HandlerContext): Record<string, string> {
  return Object.fromEntries(
    traceHeaders.flatMap((name) => {
      const value = ctx.requestHeader.get(name);
      return value === null ? [] : [[name, value]];
    }),
  );
}

const never = new AbortController().signal;

/**
 * Options for calls that claim or end a run. They are not cancelled with the caller: a claim that was cut off would
 * leave the run claimed by a worker that does not drive it.
 */
export function detached(ctx: HandlerContext): CallOptions {
  return forward(ctx, { signal: never, timeoutMs: 15_000 });
}
