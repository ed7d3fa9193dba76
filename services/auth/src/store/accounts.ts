import { type Identity, type Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { roleOf } from "./credentials.ts";

/**
 * How a transaction holds an account. Who makes a credential holds it `shared`, beside others who do; who ends
 * credentials, or replaces one, holds it `alone`. Whoever holds it knows that nobody is half-way through the other. It
 * is held before any other row is locked, and never made stronger afterwards; keys come next, in the order of their
 * ids. Then no two transactions wait for each other.
 */
export type Hold = "shared" | "alone";

/**
 * Holds an account to the end of the transaction. What is read in later statements, and not in this one, is what holds.
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

/** The same for the account of a refresh token, alone. */
export async function holdAccountOfRefreshToken(db: Queryable, tokenHash: Buffer): Promise<void> {
  await db.query(
    `select u.id from users u join user_tokens t on t.user_id = u.id
     where t.token_hash = $1 and t.token_type = 'refresh' for no key update of u`,
    [tokenHash],
  );
}

/** What is looked at of a credential before something is made of it. */
interface HeldCredential {
  readonly role: Role;
  /** Of an API key; 0 for sessions. */
  readonly secretVersion: number;
}

/**
 * A credential whose account is held, as it is now; undefined when it has ended. Of an API key, it and all keys from
 * which it descends must live: they are locked, so that an operator's statement that ends one of them, and holds no
 * account, comes before or after.
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

// In the order in which all lock keys that lock more than one.
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
