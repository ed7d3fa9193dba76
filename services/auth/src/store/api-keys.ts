import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type ApiKey, ApiKeySchema } from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres";
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
}

const keyColumns =
  "id, name, prefix, allowed_tools, allowed_models, rate_limit_per_minute, rate_limit_per_day, expires_at, last_used_at, is_revoked, created_at";

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
  });
}

/** Stores an API key. */
export async function insertApiKey(db: Queryable, token: NewToken): Promise<ApiKey> {
  const { rows } = await db.query<KeyRow>(`${insertToken} returning ${keyColumns}`, tokenValues(token, "api_key"));
  return keyOf(rows[0] as KeyRow);
}

/** A user's keys, newest first. */
export async function listApiKeys(db: Queryable, userId: string): Promise<ApiKey[]> {
  const { rows } = await db.query<KeyRow>(
    `select ${keyColumns} from user_tokens where user_id = $1 and token_type = 'api_key' order by created_at desc, id desc limit 1000`,
    [userId],
  );
  return rows.map(keyOf);
}

/** Gives a user's live key another secret. */
export async function replaceApiKeySecret(
  db: Queryable,
  key: { id: string; userId: string; tokenHash: Buffer; prefix: string },
): Promise<ApiKey | undefined> {
  const { rows } = await db.query<KeyRow>(
    `update user_tokens set token_hash = $3, prefix = $4, updated_at = now()
     where id = $1 and user_id = $2 and token_type = 'api_key' and not is_revoked returning ${keyColumns}`,
    [key.id, key.userId, key.tokenHash, key.prefix],
  );
  return rows[0] && keyOf(rows[0]);
}

/** Revokes a user's key; revoking again changes nothing. */
export async function revokeApiKey(db: Queryable, key: { id: string; userId: string }): Promise<ApiKey | undefined> {
  const { rows } = await db.query<KeyRow>(
    `update user_tokens set is_revoked = true, revoked_at = coalesce(revoked_at, now()), updated_at = now()
     where id = $1 and user_id = $2 and token_type = 'api_key' returning ${keyColumns}`,
    [key.id, key.userId],
  );
  return rows[0] && keyOf(rows[0]);
}
