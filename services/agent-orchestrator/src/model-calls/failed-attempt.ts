import { ConnectError } from "@connectrpc/connect";
import { detailOf, ErrorReason, reasonName, reasonOf } from "@turnwright/platform/errors";
import { contextWindowOf } from "../model/endpoint/model-error.ts";

/** An attempt that failed and that another one follows. */
export interface FailedAttempt {
  /** Name of the provider. */
  readonly provider: string;
  /** Public name of the model. */
  readonly model: string;
  /** For people. */
  readonly error: string;
  /** Name of the reason, as `ERROR_REASON_MODEL_FAILED`. */
  readonly reason: string;
  /** Some of its outputs were yielded: they are void. */
  readonly isShown: boolean;
}

/** Failures of an endpoint, of its connection or of our account there: another endpoint may do better. */
const endpointFailures: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_FAILED,
  ErrorReason.MODEL_RATE_LIMITED,
  ErrorReason.MODEL_QUOTA,
]);
/** Reasons for which another endpoint is tried, although this one works: it lacks the model or a free connection. */
const otherReasons: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_NOT_FOUND,
  ErrorReason.MODEL_BUSY,
  // The user has its share of this endpoint's connections, and may have some of another one's.
  ErrorReason.RATE_LIMITED,
]);
/** The endpoint works: it has read the request and refused it, or answered more than is allowed. */
const refusals: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.MODEL_NOT_FOUND,
  ErrorReason.MODEL_REJECTED,
  ErrorReason.MODEL_UNPROCESSABLE,
  ErrorReason.CONTEXT_TOO_LONG,
  ErrorReason.ANSWER_TOO_LARGE,
]);

/**
 * Whether a failed call is made again at another target. A request that is refused for its own faults is not, nor is
 * one that a limit of ours or its caller has ended. One that is too long fits only a larger window.
 */
export function fallsBack(
  error: unknown,
  from: { readonly window?: number },
  to: { readonly window?: number },
  signal: AbortSignal,
): boolean {
  if (signal.aborted) return false;
  const reason = reasonOf(error);
  if (reason === ErrorReason.CONTEXT_TOO_LONG) {
    const tooSmall = contextWindowOf(error) ?? from.window ?? Number.POSITIVE_INFINITY;
    return (to.window ?? 0) > tooSmall;
  }
  return endpointFailures.has(reason) || otherReasons.has(reason);
}

/** The facts about a failed attempt, besides its error. */
export interface AttemptFacts {
  readonly signal: AbortSignal;
  /** The endpoint had begun an answer of status 2xx. */
  readonly hasAnswered: boolean;
  /** The call has no other target. */
  readonly isAlone: boolean;
}

/**
 * The meaning of a failure for the breaker: the endpoint failed, works, or is not known to do either. Without another
 * target, only failures of an endpoint that looks dead count: to refuse all callers because of bad answers or of a rate
 * limit would help none of them.
 */
export function verdictOf(error: unknown, { signal, hasAnswered, isAlone }: AttemptFacts): "failed" | "succeeded" | "dropped" {
  if (signal.aborted) return "dropped";
  const reason = reasonOf(error);
  if (isAlone && (hasAnswered || reason !== ErrorReason.MODEL_FAILED) && endpointFailures.has(reason)) return "dropped";
  if (endpointFailures.has(reason)) return "failed";
  return refusals.has(reason) ? "succeeded" : "dropped";
}

/** A failed attempt for watchers: only texts that were made for callers are told. */
export function failedAttempt(
  target: { readonly provider: string; readonly model: string },
  error: unknown,
  isShown: boolean,
): FailedAttempt {
  const isTold = error instanceof ConnectError && detailOf(error) !== undefined;
  return {
    provider: target.provider,
    model: target.model,
    error: isTold ? error.rawMessage : "unexpected error",
    reason: reasonName(reasonOf(error)),
    isShown,
  };
}
