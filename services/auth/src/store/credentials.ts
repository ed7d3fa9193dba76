import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Identity,
  IdentitySchema,
  Role,
  type SharedLimits,
  SharedLimitsSchema,
  TokenType,
} from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres/pool";

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
  scopes: string[];
  may_approve: boolean;
  family_id: string;
  account_per_minute: number | null;
  account_per_day: number | null;
  account_concurrent: number | null;
  account_spend_micros: number | null;
  ancestors: readonly AncestorRow[] | null;
  secret_version: number;
}

/** A key from which a credential descends. */
interface AncestorRow {
  id: string;
  per_minute: number;
  per_day: number;
  concurrent: number;
  spend_micros: number | null;
}

/** Limits of accounts without limits of their own; 0: no limit. */
export interface AccountDefaults {
  readonly perMinute: number;
  readonly perDay: number;
  readonly concurrent: number;
  readonly spendMicros: number;
}

const roles: Readonly<Record<string, Role>> = { admin: Role.ADMIN, user: Role.USER, agent: Role.AGENT };

/**
 * The role of a credential. API keys are stored in programs: a key never makes its holder an admin, even if its owner
 * is one.
 */
export function roleOf(row: { role: string; token_type: "refresh" | "api_key" }): Role {
  const role = roles[row.role] ?? Role.UNSPECIFIED;
  return role === Role.ADMIN && row.token_type === "api_key" ? Role.USER : role;
}

/** The limits that a credential shares with others: those of the keys from which it descends, and of its account. */
function sharedLimitsOf(row: CredentialRow, defaults: AccountDefaults): SharedLimits[] {
  const shared = (row.ancestors ?? []).map((key) =>
    create(SharedLimitsSchema, {
      owner: { case: "apiKeyId", value: key.id },
      rateLimitPerMinute: key.per_minute,
      rateLimitPerDay: key.per_day,
      maxConcurrent: key.concurrent,
    }),
  );
  shared.push(
    create(SharedLimitsSchema, {
      owner: { case: "userId", value: row.user_id },
      rateLimitPerMinute: row.account_per_minute ?? defaults.perMinute,
      rateLimitPerDay: row.account_per_day ?? defaults.perDay,
      maxConcurrent: row.account_concurrent ?? defaults.concurrent,
    }),
  );
  return shared.filter((limits) => limits.rateLimitPerMinute + limits.rateLimitPerDay + limits.maxConcurrent > 0);
}

/** The lowest ceiling, in millionths of a US dollar; 0: none. */
function spendLimitOf(row: CredentialRow, defaults: AccountDefaults): number {
  const account = row.account_spend_micros ?? defaults.spendMicros;
  const keys = [row.spend_limit_micros, ...(row.ancestors ?? []).map((key) => key.spend_micros)];
  const held = [...keys, account === 0 ? null : account].filter((ceiling) => ceiling !== null);
  return held.length === 0 ? 0 : Math.min(...held);
}

function identityOf(row: CredentialRow, defaults: AccountDefaults): Identity {
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
    spendLimitMicros: BigInt(spendLimitOf(row, defaults)),
    sharedLimits: sharedLimitsOf(row, defaults),
    scopes: row.scopes,
    mayApprove: row.may_approve,
    familyId: row.family_id,
    secretVersion: row.token_type === "api_key" ? row.secret_version : 0,
  });
}

const noted = `, noted as (
    update user_tokens set last_used_at = now()
    from found where user_tokens.id = found.id
      and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
  )`;

// A valid credential: not revoked, not expired, its user active. Records the use, at most once a minute, unless `note`
// is empty.
const useCredential = (predicate: string, note = noted) => `with recursive found as (
    select t.id, t.user_id, case when t.token_type = 'refresh' then t.family_id else t.id end as token_id, t.token_type, u.role,
      t.allowed_tools, t.allowed_models, t.rate_limit_per_minute, t.rate_limit_per_day, t.expires_at, t.last_used_at,
      t.max_concurrent, t.spend_limit_micros, t.parent_id, t.scopes, t.may_approve, t.family_id, t.secret_version,
      u.rate_limit_per_minute as account_per_minute,
      u.rate_limit_per_day as account_per_day, u.max_concurrent as account_concurrent,
        u.spend_limit_micros as account_spend_micros
    from user_tokens t join users u on u.id = t.user_id
    where ${predicate} and not t.is_revoked and (t.expires_at is null or t.expires_at > now()) and u.is_active
  ), ancestor as (
    select 1 as step, p.* from found join user_tokens p on p.id = found.parent_id
    where found.token_type = 'api_key' and p.token_type = 'api_key'
    union all
    select ancestor.step + 1, p.* from ancestor join user_tokens p on p.id = ancestor.parent_id where p.token_type = 'api_key'
  )${note}
  select found.*, (
    select json_agg(json_build_object('id', id, 'per_minute', rate_limit_per_minute, 'per_day', rate_limit_per_day,
      'concurrent', max_concurrent, 'spend_micros', spend_limit_micros) order by step)
    from ancestor
  ) as ancestors
  from found`;

/** The identity of a valid API key. */
export async function useApiKey(db: Queryable, tokenHash: Buffer, defaults: AccountDefaults): Promise<Identity | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: "use-api-key",
    text: useCredential("t.token_hash = $1 and t.token_type = 'api_key'"),
    values: [tokenHash],
  });
  return rows[0] && identityOf(rows[0], defaults);
}

const byId = "t.user_id = $1 and ((t.token_type = 'refresh' and t.family_id = $2) or (t.token_type = 'api_key' and t.id = $2))";

/** The identity of a valid session or API key, by its `token_id`. */
export async function useCredentialById(
  db: Queryable,
  key: { userId: string; tokenId: string },
  defaults: AccountDefaults,
): Promise<Identity | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: "use-credential-by-id",
    text: useCredential(byId),
    values: [key.userId, key.tokenId],
  });
  return rows[0] && identityOf(rows[0], defaults);
}

/** The same for a locked credential. It changes no row, because other transactions may hold it too. */
export async function findCredentialById(
  db: Queryable,
  key: { userId: string; tokenId: string },
  defaults: AccountDefaults,
): Promise<Identity | undefined> {
  const { rows } = await db.query<CredentialRow>({
    name: "find-credential-by-id",
    text: useCredential(byId, ""),
    values: [key.userId, key.tokenId],
  });
  return rows[0] && identityOf(rows[0], defaults);
}
