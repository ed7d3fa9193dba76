import { ErrorReason, fail } from "@turnwright/platform/errors";

/** Refuses call ids that PostgreSQL cannot hold. Throws INVALID_REQUEST. */
export function refuseNul(callIds: readonly string[], param: string): void {
  if (callIds.some((callId) => callId.includes("\0"))) {
    throw fail(ErrorReason.INVALID_REQUEST, `${param}: call ids must not have NUL characters`, { param });
  }
}
