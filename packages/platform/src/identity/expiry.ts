import type { ConnectError } from "@connectrpc/connect";
import type { JWTPayload } from "jose";
import { ErrorReason, fail } from "../errors.ts";
import { meshClockToleranceSeconds } from "./issuer.ts";

/** Milliseconds for which a token of the mesh, verified now, is accepted by this clock. */
export function validMs({ exp = 0 }: JWTPayload): number {
  return (exp + meshClockToleranceSeconds) * 1000 - Date.now();
}

/**
 * The error of a genuine token of the mesh that has expired by this clock. Parts renew their tokens long before, so one
 * of the two clocks is wrong. Nobody presented a bad credential: the reason is CLOCK_SKEW.
 */
export function expiredError(signer: string, { exp = 0 }: JWTPayload, cause: Error): ConnectError {
  const late = Math.round(Date.now() / 1000 - exp);
  return fail(
    ErrorReason.CLOCK_SKEW,
    `A token of ${signer} expired ${late} s ago by this part's clock; the clocks of the two differ by minutes. Set both by NTP.`,
    { cause },
  );
}
