import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Access } from "@turnwright/contract/auth/v1/access";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Release } from "@turnwright/platform/ports/concurrency-limiter";
import { accessOf } from "@turnwright/platform/rpc/interceptors";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { HeaderSink } from "../http/answer-headers.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import type { Authenticator, Caller } from "./authentication.ts";
import type { Limits } from "./limits.ts";
import type { LiveCalls } from "./live-calls.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The caller, once authenticated; used by the access log. */
    caller: Caller | undefined;
    /** Releases the request's concurrency slot when the response is complete. */
    releaseSlot: Release | undefined;
  }
}

/** Replaces a slot's release after the response is complete: nothing is left to release. */
export const alreadyClosed: Release = () => {};

/** The checks that admit a request. */
export interface Admission {
  readonly authenticator: Authenticator;
  readonly liveCalls: LiveCalls;
  readonly limits: Limits;
}

/** The rule by which a method admits its callers. */
export interface AdmissionRule {
  readonly access: Access;
  /** Public methods that only read have a higher limit per address than those that check or create credentials. */
  readonly readsOnly: boolean;
  /** Whether calls of a public method count against the limit of checks only when they fail for their credential. */
  readonly countsFailures?: boolean;
  /** Whether a client may repeat a request under an idempotency key. */
  readonly takesIdempotencyKey: boolean;
}

/** The rule of a method, from its options. */
export function admissionRule(method: DescMethod): AdmissionRule {
  const readsOnly = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const { idempotencyKey, countsFailures } = getOption(method, surface);
  return { access: accessOf(method), readsOnly, countsFailures, takesIdempotencyKey: idempotencyKey };
}

/** Largest body without a credential, in bytes: requests that log in, register or refresh are short. */
const publicBodyBytes = 16_384;

/** The largest body of a method in bytes; `limit` is that of its surface. */
export function bodyLimitOf(rule: AdmissionRule, limit: number): number {
  return rule.access === Access.PUBLIC ? Math.min(limit, publicBodyBytes) : limit;
}

/** Admits a request by its method's rule: authenticates and counts it. Throws the error for the client. */
export async function admit(
  { authenticator, limits, liveCalls }: Admission,
  rule: AdmissionRule,
  request: FastifyRequest,
  sink: HeaderSink,
): Promise<Caller | undefined> {
  if (rule.access === Access.PUBLIC) {
    await limits.takeAddress(request.ip, sink, rule.countsFailures ? "renewal" : rule.readsOnly ? "read" : "check");
    return undefined;
  }
  const known = authenticator.authenticate(request.headers.authorization);
  const caller = known instanceof Promise ? await known : known;
  request.caller = caller;
  // Before the next await: from here on, a revocation finds the request.
  liveCalls.add(caller.identity.tokenId, request);
  if (known instanceof Promise && authenticator.hasEnded(caller)) {
    throw fail(ErrorReason.INVALID_TOKEN, "The credential has ended.");
  }
  await limits.takeToken(caller.identity, sink);
  const slot = limits.takeSlot(caller.identity);
  if (slot !== undefined) {
    const release = await slot;
    // The client may have disconnected meanwhile.
    if (request.releaseSlot === alreadyClosed) release();
    else request.releaseSlot = release;
  }
  return caller;
}

/** A hook that admits a request before any of its body is read; the caller is then in `request.caller`. */
export function admitFirst(admission: Admission, rule: AdmissionRule) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    disconnectSignal(request, reply);
    await admit(admission, rule, request, reply);
  };
}
