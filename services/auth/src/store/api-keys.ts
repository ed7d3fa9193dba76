import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type ApiKey, ApiKeySchema } from "@turnwright/contract/auth/v1/identity";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import type { KeyChange } from "../api-key-policy.ts";
import { insertToken, type NewToken, tokenValues } from "./tokens.ts";

interface KeyRow {
  id: string;
  name: string;
  prefix: string;
  allowed_tools: string[];
  allowed_models: string[];
  rate_limit_per_minute: number;
  rate_limit_per_day: number;
  expires_at: Date | null;
  last_used_at: Date | null;
  is_revoked: boolean;
  created_at: Date;
  max_concurrent: number;
  spend_limit_micros: number | null;
  spent_micros: number;
  scopes: string[];
  may_approve: boolean;
  parent_id: string | null;
  revoked_at: Date | null;
}

const keyColumns =
  "id, name, prefix, allowed_tools, allowed_models, rate_limit_per_minute, rate_limit_per_day, expires_at, " +
  "last_used_at, is_revoked, created_at, max_concurrent, spend_limit_micros, spent_micros, scopes, may_approve, " +
  "parent_id, revoked_at";

function keyOf(row: KeyRow): ApiKey {
  return create(ApiKeySchema, {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    allowedTools: row.allowed_tools,
    allowedModels: row.allowed_models,
    rateLimitPerMinute: row.rate_limit_per_minute,
    rateLimitPerDay: row.rate_limit_per_day,
    expiresAt: row.expires_at === null ? undefined : timestampFromDate(row.expires_at),
    lastUsedAt: row.last_used_at === null ? undefined : timestampFromDate(row.last_used_at),
    isRevoked: row.is_revoked,
    createdAt: timestampFromDate(row.created_at),
    maxConcurrent: row.max_concurrent,
    spendLimitUsd: row.spend_limit_micros === null ? undefined : row.spend_limit_micros / 1e6,
    spentUsd: row.spent_micros / 1e6,
    scopes: row.scopes,
    mayApprove: row.may_approve,
    parentId: row.parent_id ?? "",
    revokedAt: row.revoked_at === null ? undefined : timestampFromDate(row.revoked_at),
  });
}

/** Stores an API key. The account of its creator must be locked. */
export async function insertApiKey(db: Queryable, token: NewToken): Promise<ApiKey> {
  const { rows } = await db.query<KeyRow>(`${insertToken()} returning ${keyColumns}`, tokenValues(token, "api_key"));
  return keyOf(rows[0] as KeyRow);
}

/** The number of keys from a key up to the one that a login created, both included. */
export async function countLine(db: Queryable, id: string): Promise<number> {
  const { rows } = await db.query<{ keys: number }>(
    `with recursive line as (
       select id, parent_id from user_tokens where id = $1 and token_type = 'api_key'
       union
       select p.id, p.parent_id from user_tokens p join line on p.id = line.parent_id where p.token_type = 'api_key'
     )
     select count(*)::int as keys from line`,
    [id],
  );
  return rows[0]?.keys ?? 0;
}

/** The keys that a call may touch: all of a user's, or, through an API key, that key and its descendants. */
export interface KeyScope {
  readonly userId: string;
  readonly throughKey: string | undefined;
}

// $1: the user; $2: the API key of the call, or null.
const scope = `with recursive scope as (
    select id from user_tokens where user_id = $1 and token_type = 'api_key' and ($2::uuid is null or id = $2)
    union
    select child.id from user_tokens child join scope on child.parent_id = scope.id where child.token_type = 'api_key'
  )`;

/** The most bytes of lists of tools and models in a page of keys; its first key may have more. */
export const maxPageBytes = 4 * 1024 * 1024;

const listSql = `${scope}, page as (
    select ${keyColumns}, ${createdUsColumn}, sum(octet_length(allowed_tools::text) + octet_length(allowed_models::text))
      over (order by created_at desc, id desc) as bytes_so_far
    from (
      select * from user_tokens where user_id = $1 and id in (select id from scope) and ${afterPosition("$3", "$4")}
      order by created_at desc, id desc limit $5
    ) newest
  )
  select * from page order by created_at desc, id desc`;

/** A page of the keys of a scope, newest first. `next` is the start of the following page; unset on the last. */
export async function listApiKeys(
  db: Queryable,
  { userId, throughKey }: KeyScope,
  { after, limit }: { after: KeysetPosition; limit: number },
): Promise<{ apiKeys: ApiKey[]; next?: KeysetPosition }> {
  // One row more than the page shows whether another page follows.
  const values = [userId, throughKey ?? null, after.createdUs, after.id, limit + 1];
  const { rows } = await db.query<KeyRow & { created_us: number; bytes_so_far: number }>(listSql, values);
  const large = rows.findIndex(({ bytes_so_far }, index) => index > 0 && bytes_so_far > maxPageBytes);
  const { page, next } = keysetPage(rows, large === -1 ? limit : Math.min(large, limit), ({ id }) => id);
  return { apiKeys: page.map(keyOf), next };
}

/** A key of a scope, revoked or not. */
export async function findApiKey(db: Queryable, { userId, throughKey }: KeyScope, id: string): Promise<ApiKey | undefined> {
  const { rows } = await db.query<KeyRow>(
    `${scope} select ${keyColumns} from user_tokens where id = $3 and user_id = $1 and id in (select id from scope)`,
    [userId, throughKey ?? null, id],
  );
  return rows[0] && keyOf(rows[0]);
}

/** A key between the key that created it and those that it created. */
export interface KeyInLine {
  readonly key: ApiKey;
  /** Undefined: a login created the key. */
  readonly creator: ApiKey | undefined;
  /** Keys that can be used. */
  readonly created: readonly ApiKey[];
}

/** An unrevoked key of a scope in its line. */
export async function findKeyInLine(db: Queryable, keys: KeyScope, id: string): Promise<KeyInLine | undefined> {
  const key = await findApiKey(db, keys, id);
  if (key === undefined || key.isRevoked) return undefined;
  const { rows } = await db.query<KeyRow>(
    `select ${keyColumns} from user_tokens where user_id = $1 and token_type = 'api_key' and (id = $3 or (parent_id = $2
       and not is_revoked and (expires_at is null or expires_at > now()))) order by created_at, id`,
    [keys.userId, id, key.parentId === "" ? null : key.parentId],
  );
  const near = rows.map(keyOf);
  return { key, creator: near.find((one) => one.id === key.parentId), created: near.filter(({ parentId }) => parentId === id) };
}

/** Changes the name and the policy of a key. Its account must be locked alone. */
export async function updateApiKey(db: Queryable, userId: string, id: string, change: KeyChange): Promise<ApiKey> {
  const { rows } = await db.query<KeyRow>(
    `update user_tokens set name = $3, allowed_tools = $4, allowed_models = $5, rate_limit_per_minute = $6,
       rate_limit_per_day = $7, max_concurrent = $8, spend_limit_micros = $9, expires_at = $10, scopes = $11,
       may_approve = $12, updated_at = now()
     where id = $2 and user_id = $1 returning ${keyColumns}`,
    [
      userId,
      id,
      change.name,
      change.allowedTools,
      change.allowedModels,
      change.perMinute,
      change.perDay,
      change.maxConcurrent,
      change.spendLimitMicros ?? null,
      change.expiresAt,
      change.scopes,
      change.mayApprove,
    ],
  );
  return keyOf(rows[0] as KeyRow);
}

/** Replaces the secret of a valid key. Its account must be locked alone. */
export async function replaceApiKeySecret(
  db: Queryable,
  { userId, throughKey }: KeyScope,
  key: { id: string; tokenHash: Buffer; prefix: string },
): Promise<ApiKey | undefined> {
  const { rows } = await db.query<KeyRow>(
    `${scope} update user_tokens set token_hash = $4, prefix = $5, updated_at = now()
     where id = $3 and user_id = $1 and id in (select id from scope) and not is_revoked
     returning ${keyColumns}`,
    [userId, throughKey ?? null, key.id, key.tokenHash, key.prefix],
  );
  return rows[0] && keyOf(rows[0]);
}

/**
 * Revokes a key and its descendants; repeating it changes nothing. The account must be locked alone, or else keys being
 * created stay unseen. Returns the key, and the ids of all keys that this call ended.
 */
export async function revokeApiKey(
  db: Queryable,
  { userId, throughKey }: KeyScope,
  id: string,
): Promise<{ apiKey: ApiKey; ended: string[] } | undefined> {
  const { rows } = await db.query<KeyRow & { ended: boolean }>(
    `${scope}, lineage as (
       select id from scope where id = $3
       union
       select child.id from user_tokens child join lineage on child.parent_id = lineage.id where child.token_type = 'api_key'
     ), locked as materialized (
       select id as locked_id from user_tokens where id in (select id from lineage)
         and not is_revoked order by id for no key update
     ), revoked as (
       update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
       from locked where id = locked_id
       returning ${keyColumns}
     )
     select ${keyColumns}, true as ended from revoked
     union all
     select ${keyColumns}, false as ended from user_tokens where id = $3 and is_revoked and id in (select id from scope)`,
    [userId, throughKey ?? null, id],
  );
  const own = rows.find((row) => row.id === id);
  return own && { apiKey: keyOf(own), ended: rows.filter((row) => row.ended).map((row) => row.id) };
}

/** The valid ones among some keys: not revoked, not expired, with an active owner. */
export async function listLiveApiKeys(db: Queryable, ids: readonly string[]): Promise<{ id: string; expiresAt: Date | null }[]> {
  const { rows } = await db.query<{ id: string; expires_at: Date | null }>({
    name: "list-live-api-keys",
    text: `select t.id, t.expires_at from user_tokens t join users u on u.id = t.user_id
      where t.id = any ($1::uuid[]) and t.token_type = 'api_key' and not t.is_revoked and u.is_active
        and (t.expires_at is null or t.expires_at > now())`,
    values: [ids],
  });
  return rows.map((row) => ({ id: row.id, expiresAt: row.expires_at }));
}

/** Revokes the descendants of a key; returns their ids. The account must be locked alone. */
export async function revokeCreatedKeys(db: Queryable, userId: string, id: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `with recursive lineage as (
       select id from user_tokens where parent_id = $2 and user_id = $1 and token_type = 'api_key'
       union
       select child.id from user_tokens child join lineage on child.parent_id = lineage.id where child.token_type = 'api_key'
     ), locked as materialized (
       select id as locked_id from user_tokens where id in (select id from lineage)
         and not is_revoked order by id for no key update
     )
     update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
     from locked where id = locked_id
     returning id`,
    [userId, id],
  );
  return rows.map((row) => row.id);
}

/** Revokes all keys of a user whose account is locked; returns their ids. */
export async function revokeAllApiKeys(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `with locked as materialized (
       select id as locked_id from user_tokens where user_id = $1 and token_type = 'api_key' and not is_revoked
       order by id for no key update
     )
     update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
     from locked where id = locked_id returning id`,
    [userId],
  );
  return rows.map((row) => row.id);
}

/** The ids of a user's keys that are not revoked. */
export async function listLiveKeyIds(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    "select id from user_tokens where user_id = $1 and token_type = 'api_key' and not is_revoked",
    [userId],
  );
  return rows.map((row) => row.id);
}
