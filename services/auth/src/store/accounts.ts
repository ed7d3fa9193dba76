import { type Identity, type Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { roleOf } from "./credentials.ts";

/**
 * How a transaction locks an account: `shared` to create a credential, beside other transactions that do; `alone` to
 * end or replace one. A transaction with the lock knows that none of the other kind is half-way. The account is locked
 * before any other row, and the lock is never upgraded; keys are locked next, in the order of their ids. So no two
 * transactions wait for each other.
 */
export type Hold = "shared" | "alone";

/**
 * Locks an account to the end of the transaction. Read the account in later statements: this statement's own snapshot
 * may be older than the lock.
 */
export async function holdAccount(db: Queryable, userId: string, hold: Hold): Promise<void> {
  await db.query(
    hold === "shared"
      ? { name: "hold-account-shared", text: "select id from users where id = $1 for share", values: [userId] }
      : { name: "hold-account-alone", text: "select id from users where id = $1 for no key update", values: [userId] },
  );
}

/** Waits until no other transaction uses the power of an admin, then holds that power to the end of this one. */
export async function holdAdminPower(db: Queryable): Promise<void> {
  await db.query("select pg_advisory_xact_lock(hashtext('turnwright.admins'))");
}

/** Locks the account of a refresh token, alone. */
export async function holdAccountOfRefreshToken(db: Queryable, tokenHash: Buffer): Promise<void> {
  await db.query(
    `select u.id from users u join user_tokens t on t.user_id = u.id
     where t.token_hash = $1 and t.token_type = 'refresh' for no key update of u`,
    [tokenHash],
  );
}

/** The state of a credential on which creating something from it depends. */
interface HeldCredential {
  readonly role: Role;
  /** Version of an API key's secret; 0 for sessions. */
  readonly secretVersion: number;
}

/**
 * A credential's current state, when its account is locked; undefined when it has ended. An API key and all keys from
 * which it descends must be valid. They are locked, so that an operator's statement that ends one without locking the
 * account comes before or after.
 */
export async function findHeldCredential(
  db: Queryable,
  { userId, tokenId, tokenType }: Pick<Identity, "userId" | "tokenId" | "tokenType">,
): Promise<HeldCredential | undefined> {
  const { rows } = await db.query<HeldRow>(
    tokenType === TokenType.API_KEY
      ? { name: "find-held-key", text: heldKey, values: [userId, tokenId] }
      : { name: "find-held-session", text: heldSession, values: [userId, tokenId] },
  );
  const own = rows.find((row) => row.token_id === tokenId);
  if (own === undefined || rows.some((row) => row.has_ended)) return undefined;
  return { role: roleOf(own), secretVersion: own.token_type === "api_key" ? own.secret_version : 0 };
}

interface HeldRow {
  token_id: string;
  token_type: "refresh" | "api_key";
  role: string;
  secret_version: number;
  has_ended: boolean;
}

const heldSession = `select t.family_id as token_id, t.token_type, u.role, t.secret_version, false as has_ended
  from user_tokens t join users u on u.id = t.user_id and u.is_active
  where t.user_id = $1 and t.family_id = $2 and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now()`;

// In the order in which every transaction locks several keys.
const heldKey = `with recursive line as (
    select id, parent_id from user_tokens where id = $2 and user_id = $1 and token_type = 'api_key'
    union
    select above.id, above.parent_id from user_tokens above join line on above.id = line.parent_id
  )
  select t.id as token_id, t.token_type, u.role, t.secret_version,
    t.is_revoked or coalesce(t.expires_at <= now(), false) as has_ended
  from line join user_tokens t on t.id = line.id join users u on u.id = t.user_id and u.is_active
  order by t.id
  for share of t`;
