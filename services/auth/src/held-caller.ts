import type { HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { isDeadlock, type Tx } from "@turnwright/platform/postgres/pool";
import { findHeldCredential, type Hold, holdAccount, holdAdminPower } from "./store/accounts.ts";
import { type AccountDefaults, findCredentialById } from "./store/credentials.ts";

const maxAttempts = 4;

/**
 * Runs a transaction again, up to four times in all, when PostgreSQL ended it to resolve a deadlock. The service locks
 * accounts first and in one order; an operator's statements lock rows in any order.
 */
export function retryingDeadlocks<T>(run: () => Promise<T>): Promise<T> {
  const mayPass = (error: unknown, attempts: number) => attempts < maxAttempts && isDeadlock(error);
  return retrying(run, { mayPass, patienceMs: Number.POSITIVE_INFINITY, firstMs: 0, longestMs: 0 });
}

const hasEnded = () => fail(ErrorReason.INVALID_TOKEN, "The credential has ended, or has changed.");

/**
 * Locks the caller's account and checks the caller's credential as it is in the database now: the identity that came
 * with the call may be minutes old, and an ended credential must create nothing. Must be first in its transaction.
 * Throws INVALID_TOKEN, also for a caller who was admitted with an older secret or in another role; presenting the
 * credential again admits it with its current rights.
 */
export async function holdCaller(tx: Tx, ctx: HandlerContext, hold: Hold): Promise<void> {
  const asked = requireIdentity(ctx);
  await holdAccount(tx, asked.userId, hold);
  const now = await findHeldCredential(tx, asked);
  // Tokens of a release without secret versions have none; they count as the first version.
  const isSame = (now?.secretVersion || 1) === (asked.secretVersion || 1) && now?.role === asked.role;
  if (now === undefined || !isSame) throw hasEnded();
}

/**
 * Locks the account of a caller who creates or changes a credential, and returns the caller's current identity, which
 * may allow less than at admission. Throws INVALID_TOKEN.
 */
export async function holdMaker(
  tx: Tx,
  ctx: HandlerContext,
  defaults: AccountDefaults,
  hold: Hold = "shared",
): Promise<Identity> {
  await holdCaller(tx, ctx, hold);
  const now = await findCredentialById(tx, requireIdentity(ctx), defaults);
  if (now === undefined) throw hasEnded();
  return now;
}

/**
 * Locks an admin's account, the power of admins, and the account to change, if it is another one. One admin acts at a
 * time, so two admins can neither remove each other's role nor deadlock. Throws INVALID_TOKEN for a caller who is no
 * longer an admin.
 */
export async function holdAdmin(tx: Tx, ctx: HandlerContext, target?: string): Promise<void> {
  await holdAdminPower(tx);
  const { userId } = requireIdentity(ctx);
  await holdCaller(tx, ctx, target === userId ? "alone" : "shared");
  if (target !== undefined && target !== userId) await holdAccount(tx, target, "alone");
}
