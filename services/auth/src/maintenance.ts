import { guarded } from "@turnwright/platform/async/guarded";
import type { Logger } from "@turnwright/platform/logger";
import { pruneIdempotencyKeys } from "@turnwright/platform/postgres/idempotency";
import type pg from "pg";
import type { SigningKeys } from "./signing-keys.ts";
import { pruneAttempts } from "./store/login-attempts.ts";
import { pruneRevocations } from "./store/revocations.ts";
import { lapseReservations } from "./store/spend.ts";

const keysMs = 5_000;
const pruneMs = 60_000;

/**
 * Starts the periodic maintenance: takes over other replicas' signing keys, lets reservations lapse, deletes expired
 * rows. Every replica does it; each step is one statement, and repeating it does no harm. Returns the function that
 * stops it.
 */
export function startMaintenance(deps: { pool: pg.Pool; keys: SigningKeys; logger: Logger }): () => void {
  const { pool, keys, logger } = deps;
  const timers = [
    setInterval(
      guarded(logger, "signing keys", () => keys.refresh()),
      keysMs,
    ),
    setInterval(
      guarded(logger, "reservations", () => lapseReservations(pool)),
      pruneMs,
    ),
    setInterval(
      guarded(logger, "revocations", () => pruneRevocations(pool)),
      pruneMs,
    ),
    setInterval(
      guarded(logger, "login attempts", () => pruneAttempts(pool)),
      pruneMs,
    ),
    setInterval(
      guarded(logger, "idempotency keys", () => pruneIdempotencyKeys(pool)),
      pruneMs,
    ),
  ];
  for (const timer of timers) timer.unref();
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
