import { toJsonString } from "@bufbuild/protobuf";
import { type AccountLimits, AccountLimitsSchema, type User } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { AuditEvent } from "@turnwright/platform/postgres/audit-log";
import type { Tx } from "@turnwright/platform/postgres/pool";
import { listLiveKeyIds, revokeAllApiKeys } from "./store/api-keys.ts";
import { revokeInvitesOf } from "./store/invites.ts";
import { revokeAllSessions } from "./store/sessions.ts";
import { countOtherAdmins, setPasswordHash, updateUser } from "./store/users.ts";

/** Appends an event to the audit log, in the name of the person who makes the change. */
export type Note = (event: AuditEvent) => Promise<void>;

/** The error for an account that does not exist. */
export const noSuchUser = () => fail(ErrorReason.NOT_FOUND, "There is no such account.", { param: "user_id" });

/**
 * Changes an account; undefined fields stay. The transaction must hold the power of admins and the account, alone.
 * Returns the account and the ids of the credentials that ended or have another role now. Throws NOT_FOUND, and
 * CONFLICT when no active admin would be left.
 */
export async function changeAccount(
  tx: Tx,
  note: Note,
  change: { userId: string; role?: string; isActive?: boolean; name?: string; limits?: AccountLimits },
): Promise<{ user: User; ended: string[] }> {
  const { userId, limits, ...fields } = change;
  const updated = await updateUser(tx, { id: userId, limits, ...fields });
  if (updated === undefined) throw noSuchUser();
  const { before, after } = updated;
  const isAdmin = after.role === "admin" && after.isActive;
  if (before.role === "admin" && before.isActive && !isAdmin && (await countOtherAdmins(tx, userId)) === 0) {
    throw fail(ErrorReason.CONFLICT, "The last active admin cannot be demoted or disabled.", { param: "user_id" });
  }
  const sessions = before.role !== after.role || !after.isActive ? await revokeAllSessions(tx, userId) : [];
  const keys = after.isActive ? [] : await revokeAllApiKeys(tx, userId);
  // API keys stay valid under the new role, but cached identities still have the old one.
  const changed = before.role !== after.role && after.isActive ? await listLiveKeyIds(tx, userId) : [];
  if (!isAdmin) await revokeInvitesOf(tx, userId);
  const details = {
    role: after.role,
    is_active: after.isActive,
    ...(limits && { limits: toJsonString(AccountLimitsSchema, limits) }),
  };
  await note({ action: "user.updated", outcome: "success", subject: userId, details });
  // Resources such as webhooks depend on the account itself.
  const closed = before.isActive && !after.isActive ? [userId] : [];
  return { user: after, ended: [...sessions, ...keys, ...changed, ...closed] };
}

/**
 * Gives an account another password and ends its sessions; on demand also its API keys and open invites. The
 * transaction must hold the power of admins and the account, alone. Returns the ids of what ended. Throws NOT_FOUND.
 */
export async function resetPassword(
  tx: Tx,
  note: Note,
  reset: { userId: string; passwordHash: string; revokeApiKeys: boolean },
): Promise<{ user: User; sessions: string[]; keys: string[] }> {
  const { userId, passwordHash, revokeApiKeys } = reset;
  const user = await setPasswordHash(tx, { id: userId, passwordHash });
  if (user === undefined) throw noSuchUser();
  const sessions = await revokeAllSessions(tx, userId);
  const keys = revokeApiKeys ? await revokeAllApiKeys(tx, userId) : [];
  const invites = revokeApiKeys ? await revokeInvitesOf(tx, userId) : [];
  const details = { sessions: sessions.length, api_keys: keys.length, invites: invites.length };
  await note({ action: "password.reset", outcome: "success", subject: userId, details });
  return { user, sessions, keys };
}
