import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Invite, InviteSchema } from "@turnwright/contract/auth/v1/identity";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";

interface InviteRow {
  id: string;
  email: string | null;
  created_at: Date;
  created_by: string;
  expires_at: Date;
  revoked_at: Date | null;
  used_at: Date | null;
  used_by: string | null;
}

const inviteColumns = "id, email, created_at, created_by, expires_at, revoked_at, used_at, used_by";

function inviteOf(row: InviteRow): Invite {
  return create(InviteSchema, {
    id: row.id,
    email: row.email ?? "",
    createdAt: timestampFromDate(row.created_at),
    createdBy: row.created_by,
    expiresAt: timestampFromDate(row.expires_at),
    revokedAt: row.revoked_at === null ? undefined : timestampFromDate(row.revoked_at),
    usedAt: row.used_at === null ? undefined : timestampFromDate(row.used_at),
    usedBy: row.used_by ?? "",
  });
}

/** Stores an invite. Its creator's account must be locked. */
export async function insertInvite(
  db: Queryable,
  invite: { id: string; createdBy: string; secretHash: Buffer; email: string | undefined; expiresAt: Date },
): Promise<Invite> {
  const { rows } = await db.query<InviteRow>(
    `insert into invites (id, created_by, secret_hash, email, expires_at) values ($1, $2, $3, $4, $5) returning ${inviteColumns}`,
    [invite.id, invite.createdBy, invite.secretHash, invite.email ?? null, invite.expiresAt],
  );
  return inviteOf(rows[0] as InviteRow);
}

/** A page of invites after a position, newest first. `next` is the start of the following page; unset on the last. */
export async function listInvites(
  db: Queryable,
  page: { after: KeysetPosition; limit: number },
): Promise<{ invites: Invite[]; next?: KeysetPosition }> {
  const { rows } = await db.query<InviteRow & { created_us: number }>(
    `select ${inviteColumns}, ${createdUsColumn} from invites
     where ${afterPosition("$1", "$2")}
     order by created_at desc, id desc limit $3`,
    [page.after.createdUs, page.after.id, page.limit + 1],
  );
  const { page: shown, next } = keysetPage(rows, page.limit, ({ id }) => id);
  return { invites: shown.map(inviteOf), next };
}

/** Revokes an unused invite. Returns the invite, and whether this call ended it; undefined: no such invite. */
export async function revokeInvite(db: Queryable, id: string): Promise<{ invite: Invite; ended: boolean } | undefined> {
  const { rowCount } = await db.query(
    "update invites set revoked_at = now() where id = $1 and used_at is null and revoked_at is null",
    [id],
  );
  const { rows } = await db.query<InviteRow>(`select ${inviteColumns} from invites where id = $1`, [id]);
  return rows[0] && { invite: inviteOf(rows[0]), ended: rowCount === 1 };
}

/** Revokes all unused invites of a user whose account is locked alone; returns their ids. */
export async function revokeInvitesOf(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    "update invites set revoked_at = now() where created_by = $1 and used_at is null and revoked_at is null returning id",
    [userId],
  );
  return rows.map((row) => row.id);
}

/** Whether an invite with this secret exists, valid or not. */
export async function isInvite(db: Queryable, secretHash: Buffer): Promise<boolean> {
  const { rowCount } = await db.query("select 1 from invites where secret_hash = $1", [secretHash]);
  return rowCount === 1;
}

/** A valid invite and its creator. */
export interface OpenInvite {
  readonly id: string;
  readonly createdBy: string;
}

/** The invite with this secret, if the address may register with it now and its creator is still an admin. */
export async function findOpenInvite(
  db: Queryable,
  asked: { secretHash: Buffer; email: string },
): Promise<OpenInvite | undefined> {
  const { rows } = await db.query<{ id: string; created_by: string }>(
    `select i.id, i.created_by from invites i join users u on u.id = i.created_by and u.is_active and u.role = 'admin'
     where i.secret_hash = $1 and i.used_at is null and i.revoked_at is null and i.expires_at > now()
       and (i.email is null or i.email = $2)`,
    [asked.secretHash, asked.email],
  );
  return rows[0] && { id: rows[0].id, createdBy: rows[0].created_by };
}

/**
 * Uses up an invite for an account created in this transaction. The creator's account must be locked. One of several
 * concurrent uses succeeds; false: another was first, or the invite has ended.
 */
export async function useInvite(db: Queryable, invite: OpenInvite, userId: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `update invites i set used_at = now(), used_by = $2
     from users u
     where i.id = $1 and i.used_at is null and i.revoked_at is null and i.expires_at > now()
       and u.id = i.created_by and u.is_active and u.role = 'admin'`,
    [invite.id, userId],
  );
  return rowCount === 1;
}
