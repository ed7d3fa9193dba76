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
