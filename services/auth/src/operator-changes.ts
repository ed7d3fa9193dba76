import { userInfo } from "node:os";
import type { User } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { type Tx, transaction } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import { changeAccount, type Note, resetPassword } from "./account-changes.ts";
import { randomPassword } from "./opaque-tokens.ts";
import { createPasswords } from "./passwords.ts";
import { holdAccount, holdAdminPower } from "./store/accounts.ts";
import { findUserByEmail } from "./store/users.ts";

/** The actor in the audit log: whoever may read the database's password needs no account. */
const operator = "operator on the command line";

/** Name of the system's user who runs this process; their number where the system knows no name. */
function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? "");
  }
}

/**
 * Runs a change of an account, which is locked alone, in a transaction with the power of admins. Parts that run read
 * from the database which credentials it has ended. Throws NOT_FOUND.
 */
function changing<T>(pool: pg.Pool, email: string, change: (tx: Tx, user: User, note: Note) => Promise<T>): Promise<T> {
  return transaction(pool, async (tx) => {
    await holdAdminPower(tx);
    const named = await findUserByEmail(tx, email.toLowerCase());
    if (named === undefined) throw fail(ErrorReason.NOT_FOUND, `There is no account with the address ${email}.`);
    await holdAccount(tx, named.user.id, "alone");
    // Read again: the account may have changed before it was locked.
    const { user } = (await findUserByEmail(tx, email.toLowerCase())) ?? named;
    const note: Note = (event) => {
      const details = { ...event.details, system_user: systemUser() };
      return appendAudit(tx, undefined, { ...event, actorId: operator, details });
    };
    return await change(tx, user, note);
  });
}

/**
 * Gives an account a random password and ends its sessions; on demand also its API keys and open invites. Returns the
 * password and how many credentials ended. Throws NOT_FOUND.
 */
export async function resetByOperator(
  pool: pg.Pool,
  { email, revokeApiKeys }: { email: string; revokeApiKeys: boolean },
): Promise<{ user: User; password: string; sessions: number; apiKeys: number }> {
  const password = randomPassword();
  const passwordHash = await createPasswords().inTurn({ address: "", account: email }, ({ hash }) => hash(password));
  return await changing(pool, email, async (tx, { id: userId }, note) => {
    const { user, sessions, keys } = await resetPassword(tx, note, { userId, passwordHash, revokeApiKeys });
    return { user, password, sessions: sessions.length, apiKeys: keys.length };
  });
}

/**
 * Makes an account an active admin. Throws NOT_FOUND, and CONFLICT for a deactivated account unless `activate` is set.
 */
export async function promoteByOperator(
  pool: pg.Pool,
  { email, activate }: { email: string; activate: boolean },
): Promise<{ user: User; changed: boolean }> {
  return await changing(pool, email, async (tx, user, note) => {
    if (!user.isActive && !activate) {
      throw fail(ErrorReason.CONFLICT, `The account ${user.email} is deactivated; add --activate to activate it as well.`);
    }
    if (user.isActive && user.role === "admin") return { user, changed: false };
    const change = { userId: user.id, role: "admin", isActive: true };
    return { user: (await changeAccount(tx, note, change)).user, changed: true };
  });
}

/**
 * Takes the role of an admin from an account, which keeps the role `user`. Throws NOT_FOUND, and CONFLICT for the last
 * active admin.
 */
export async function demoteByOperator(pool: pg.Pool, { email }: { email: string }): Promise<{ user: User; changed: boolean }> {
  return await changing(pool, email, async (tx, user, note) => {
    if (user.role !== "admin") return { user, changed: false };
    return { user: (await changeAccount(tx, note, { userId: user.id, role: "user" })).user, changed: true };
  });
}
