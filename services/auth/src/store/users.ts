import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type AccountLimits, AccountLimitsSchema, type User, UserSchema } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import { isUniqueViolation, type Queryable } from "@turnwright/platform/postgres/pool";

/** An account as it is stored. */
export interface UserRow {
  id: string;
  email: string;
  name: string;
  role: string;
  is_active: boolean;
  created_at: Date;
  updated_at: Date;
  rate_limit_per_minute: number | null;
  rate_limit_per_day: number | null;
  max_concurrent: number | null;
  spend_limit_micros: number | null;
  spent_micros: number;
}

export const userColumns = `id, email, name, role, is_active, created_at, updated_at, rate_limit_per_minute,
  rate_limit_per_day, max_concurrent,
  spend_limit_micros, spent_micros`;

/** An account's own limits; undefined: none. */
function limitsOf(row: UserRow): AccountLimits | undefined {
  const limits = {
    rateLimitPerMinute: row.rate_limit_per_minute ?? undefined,
    rateLimitPerDay: row.rate_limit_per_day ?? undefined,
    maxConcurrent: row.max_concurrent ?? undefined,
    spendLimitUsd: row.spend_limit_micros === null ? undefined : row.spend_limit_micros / 1e6,
  };
  return Object.values(limits).every((limit) => limit === undefined) ? undefined : create(AccountLimitsSchema, limits);
}

/** An account as a message of the contract. */
export function userOf(row: UserRow): User {
  return create(UserSchema, {
    id: row.id,
    email: row.email,
    name: row.name,
    role: row.role,
    isActive: row.is_active,
    createdAt: timestampFromDate(row.created_at),
    updatedAt: timestampFromDate(row.updated_at),
    limits: limitsOf(row),
    spentUsd: row.spent_micros / 1e6,
  });
}

/** Stores an account. Throws EMAIL_TAKEN. */
export async function insertUser(
  db: Queryable,
  user: { id: string; email: string; passwordHash: string; name: string; role?: string },
): Promise<User> {
  try {
    const { rows } = await db.query<UserRow>(
      `insert into users (id, email, password_hash, name, role) values ($1, $2, $3, $4, $5) returning ${userColumns}`,
      [user.id, user.email, user.passwordHash, user.name, user.role ?? "user"],
    );
    return userOf(rows[0] as UserRow);
  } catch (error) {
    if (isUniqueViolation(error, "users_email_key")) {
      throw fail(ErrorReason.EMAIL_TAKEN, "An account with this email exists.", { param: "email", cause: error });
    }
    throw error;
  }
}

/** An account and its password hash, by email address. */
export async function findUserByEmail(db: Queryable, email: string): Promise<{ user: User; passwordHash: string } | undefined> {
  const { rows } = await db.query<UserRow & { password_hash: string }>(
    `select ${userColumns}, password_hash from users where email = $1`,
    [email],
  );
  const row = rows[0];
  return row && { user: userOf(row), passwordHash: row.password_hash };
}

/** An account, by id. */
export async function findUser(db: Queryable, id: string): Promise<User | undefined> {
  const { rows } = await db.query<UserRow>(`select ${userColumns} from users where id = $1`, [id]);
  return rows[0] && userOf(rows[0]);
}

/** The accounts to list; unset: all. */
export interface UserFilter {
  /** Part of the email address or name, regardless of case, or the id. */
  readonly words?: string;
  readonly role?: string;
  readonly isActive?: boolean;
}

/** A page of accounts after a position, newest first. `next` is the start of the following page; unset on the last. */
export async function listUsers(
  db: Queryable,
  page: { after: KeysetPosition; limit: number },
  { words = "", role, isActive }: UserFilter = {},
): Promise<{ users: User[]; next?: KeysetPosition }> {
  const { rows } = await db.query<UserRow & { created_us: number }>(
    `select ${userColumns}, ${createdUsColumn} from users
     where ${afterPosition("$1", "$2")}
       and ($4 = '' or strpos(lower(email), lower($4)) > 0 or strpos(lower(name), lower($4)) > 0 or id::text = lower($4))
       and ($5::text is null or role = $5) and ($6::bool is null or is_active = $6)
     order by created_at desc, id desc limit $3`,
    [page.after.createdUs, page.after.id, page.limit + 1, words, role ?? null, isActive ?? null],
  );
  const { page: shown, next } = keysetPage(rows, page.limit, ({ id }) => id);
  return { users: shown.map(userOf), next };
}

/** Changes an account; undefined fields stay. Undefined when there is no such account. */
export async function updateUser(
  db: Queryable,
  change: { id: string; role?: string; isActive?: boolean; name?: string; limits?: AccountLimits },
): Promise<{ before: User; after: User } | undefined> {
  const { rows } = await db.query<UserRow>(`select ${userColumns} from users where id = $1 for no key update`, [change.id]);
  const before = rows[0];
  if (before === undefined) return undefined;
  const { limits } = change;
  const spendLimitUsd = limits?.spendLimitUsd;
  const updated = await db.query<UserRow>(
    `update users set role = coalesce($2, role), is_active = coalesce($3, is_active), name = coalesce($4, name),
      updated_at = now(),
       rate_limit_per_minute = case when $5 then $6 else rate_limit_per_minute end,
       rate_limit_per_day = case when $5 then $7 else rate_limit_per_day end,
       max_concurrent = case when $5 then $8 else max_concurrent end,
       spend_limit_micros = case when $5 then $9 else spend_limit_micros end
     where id = $1 returning ${userColumns}`,
    [
      change.id,
      change.role ?? null,
      change.isActive ?? null,
      change.name ?? null,
      limits !== undefined,
      limits?.rateLimitPerMinute ?? null,
      limits?.rateLimitPerDay ?? null,
      limits?.maxConcurrent ?? null,
      spendLimitUsd === undefined ? null : Math.ceil(spendLimitUsd * 1e6),
    ],
  );
  return { before: userOf(before), after: userOf(updated.rows[0] as UserRow) };
}

/** The number of active admins other than one account. */
export async function countOtherAdmins(db: Queryable, userId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    "select count(*)::int as count from users where role = 'admin' and is_active and id <> $1",
    [userId],
  );
  return rows[0]?.count ?? 0;
}

/** An active account's password hash. */
export async function findPasswordHash(db: Queryable, id: string): Promise<string | undefined> {
  const { rows } = await db.query<{ password_hash: string }>("select password_hash from users where id = $1 and is_active", [id]);
  return rows[0]?.password_hash;
}

/** Replaces an account's password hash; false when it is no longer `oldHash`. */
export async function replacePasswordHash(
  db: Queryable,
  change: { id: string; oldHash: string; newHash: string },
): Promise<boolean> {
  const { rowCount } = await db.query(
    "update users set password_hash = $3, updated_at = now() where id = $1 and password_hash = $2 and is_active",
    [change.id, change.oldHash, change.newHash],
  );
  return rowCount === 1;
}

/** Sets an account's password hash, whatever it was; undefined when there is no such account. */
export async function setPasswordHash(db: Queryable, change: { id: string; passwordHash: string }): Promise<User | undefined> {
  const { rows } = await db.query<UserRow>(
    `update users set password_hash = $2, updated_at = now() where id = $1 returning ${userColumns}`,
    [change.id, change.passwordHash],
  );
  return rows[0] && userOf(rows[0]);
}

/**
 * Stores the first admin, unless an account with this address exists; that account stays as it is. Returns whether it
 * was stored.
 */
export async function insertFirstAdmin(
  db: Queryable,
  user: { id: string; email: string; passwordHash: string },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into users (id, email, password_hash, name, role) values ($1, $2, $3, 'Administrator', 'admin')
     on conflict (email) do nothing`,
    [user.id, user.email, user.passwordHash],
  );
  return rowCount === 1;
}

/** Whether any account is an active admin. */
export async function hasAdmin(db: Queryable): Promise<boolean> {
  const { rowCount } = await db.query("select 1 from users where role = 'admin' and is_active limit 1");
  return rowCount === 1;
}

/** The accounts of these ids that are disabled or do not exist. */
export async function listClosedAccounts(db: Queryable, ids: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "list-closed-accounts",
    text: `select asked.id from unnest($1::uuid[]) as asked (id)
      where not exists (select from users u where u.id = asked.id and u.is_active)`,
    values: [ids],
  });
  return rows.map(({ id }) => id);
}
