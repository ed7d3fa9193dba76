import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Identity, IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres";

interface CredentialRow {
  user_id: string;
  token_id: string;
  token_type: "refresh" | "api_key";
  role: string;
  allowed_tools: string[];
  allowed_models: string[];
  rate_limit_per_minute: number;
  rate_limit_per_day: number;
  expires_at: Date | null;
  max_concurrent: number;
  spend_limit_micros: number | null;
}

const roles: Readonly<Record<string, Role>> = { admin: Role.ADMIN, user: Role.USER, agent: Role.AGENT };

/** The role of a credential. A key lies about in programs: it never makes its holder an admin, even if its owner is one. */
function roleOf(row: CredentialRow): Role {
  const role = roles[row.role] ?? Role.UNSPECIFIED;
  return role === Role.ADMIN && row.token_type === "api_key" ? Role.USER : role;
}

function identityOf(row: CredentialRow): Identity {
  return create(IdentitySchema, {
    userId: row.user_id,
    tokenId: row.token_id,
    tokenType: row.token_type === "api_key" ? TokenType.API_KEY : TokenType.ACCESS,
    role: roleOf(row),
    allowedTools: row.allowed_tools,
    allowedModels: row.allowed_models,
    rateLimitPerMinute: row.rate_limit_per_minute,
    rateLimitPerDay: row.rate_limit_per_day,
    expiresAt: row.expires_at === null ? undefined : timestampFromDate(row.expires_at),
    maxConcurrent: row.max_concurrent,
    spendLimitMicros: BigInt(row.spend_limit_micros ?? 0),
  });
}

// A credential that holds now: not revoked, not ended, its user active. Notes the use, at most once a minute.
const useCredential = (predicate: string) => `with found as (
    select t.id, t.user_id, case when t.token_type = 'refresh' then t.family_id else t.id end as token_id, t.token_type, u.role,
      t.allowed_tools, t.allowed_models, t.rate_limit_per_minute, t.rate_limit_per_day, t.expires_at, t.last_used_at,
      t.max_concurrent, t.spend_limit_micros
    from user_tokens t join users u on u.id = t.user_id
    where ${predicate} and not t.is_revoked and (t.expires_at is null or t.expires_at > now()) and u.is_active
  ), noted as (
    update user_tokens set last_used_at = now()
    from found where user_tokens.id = found.id and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
  )
  select * from found`;

/** The identity behind an API key that holds. */
export async function useApiKey(db: Queryable, tokenHash: Buffer): Promise<Identity | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: "use-api-key",
    text: useCredential("t.token_hash = $1 and t.token_type = 'api_key'"),
    values: [tokenHash],
  });
  return rows[0] && identityOf(rows[0]);
}

/** The identity behind a session or API key that holds, by its `token_id`. */
export async function useCredentialById(db: Queryable, key: { userId: string; tokenId: string }): Promise<Identity | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: "use-credential-by-id",
    text: useCredential(
      "t.user_id = $1 and ((t.token_type = 'refresh' and t.family_id = $2) or (t.token_type = 'api_key' and t.id = $2))",
    ),
    values: [key.userId, key.tokenId],
  });
  return rows[0] && identityOf(rows[0]);
}
