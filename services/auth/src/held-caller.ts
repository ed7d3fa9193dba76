import type { HandlerContext } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { isDeadlock, type Tx } from "@turnwright/platform/postgres/pool";
import { findHeldCredential, type Hold, holdAccount, holdAdminPower } from "./store/accounts.ts";
import { type AccountDefaults, findCredentialById } from "./store/credentials.ts";

const maxAttempts = 4;

/**
 * Runs a transaction again that PostgreSQL has picked to end a deadlock. Ours lock accounts first and in one order; an
 * operator's statements lock rows as they find them.
 */
export async function untilUndisturbed<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (attempt === maxAttempts || !isDeadlock(error)) throw error;
    }
  }
}

const hasEnded = () => fail(ErrorReason.INVALID_TOKEN, "The credential has ended, or has changed.");

/**
 * Holds the caller's account and looks at the caller as the database has it now: the identity that came with the call
 * is up to some minutes old, and nothing may be made of a credential that has ended. First in its transaction. Throws
 * INVALID_TOKEN, also for a caller who was let in by an older secret or in another role: the same credential, presented
 * again, is let in as what it is.
 */
export async function holdCaller(tx: Tx, ctx: HandlerContext, hold: Hold): Promise<void> {
  const asked = requireIdentity(ctx);
  await holdAccount(tx, asked.userId, hold);
  const now = await findHeldCredential(tx, asked);
  // Unset in tokens of a release that does not count secrets: those are of the first.
  const isSame = (now?.secretVersion || 1) === (asked.secretVersion || 1) && now?.role === asked.role;
  if (now === undefined || !isSame) throw hasEnded();
}

/**
 * Holds a caller who makes a credential, shared, and gives what the caller may do now, which may be less than when it
 * was let in. Throws INVALID_TOKEN.
 */
export async function holdMaker(tx: Tx, ctx: HandlerContext, defaults: AccountDefaults): Promise<Identity> {
  await holdCaller(tx, ctx, "shared");
  const now = await findCredentialById(tx, requireIdentity(ctx), defaults);
  if (now === undefined) throw hasEnded();
  return now;
}

/**
 * Holds an admin who is about to change another account, and the power to change any: one admin at a time, so that two
 * can neither take the role from each other nor wait for each other. Throws INVALID_TOKEN for one who is no admin any
 * more.
 */
export async function holdAdmin(tx: Tx, ctx: HandlerContext, target?: string): Promise<void> {
  await holdAdminPower(tx);
  const { userId } = requireIdentity(ctx);
  await holdCaller(tx, ctx, target === userId ? "alone" : "shared");
  if (target !== undefined && target !== userId) await holdAccount(tx, target, "alone");
}
