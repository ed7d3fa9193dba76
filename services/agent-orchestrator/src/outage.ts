import { ErrorReason, reasonOf } from "@turnwright/platform/errors";

const outages: ReadonlySet<ErrorReason> = new Set([ErrorReason.UNAVAILABLE, ErrorReason.DATABASE_UNAVAILABLE]);

/** Whether a call failed because another service or its database is away: it had no effect and may succeed later. */
export function isOutage(error: unknown): boolean {
  return outages.has(reasonOf(error));
}

/** Whether a call failed by an outage or ran out of time. After a timeout it may have taken effect. */
export function isOutageOrTimeout(error: unknown): boolean {
  return isOutage(error) || reasonOf(error) === ErrorReason.DEADLINE_EXCEEDED;
}

const refusals: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.INVALID_REQUEST,
  ErrorReason.INVALID_ID,
  ErrorReason.INVALID_TOOL_ARGUMENTS,
  ErrorReason.TOO_LARGE,
]);

/** Whether a service or the transport to it refused a call for its content: the same call would be refused again. */
export function isRefusedForGood(error: unknown): boolean {
  return refusals.has(reasonOf(error));
}
