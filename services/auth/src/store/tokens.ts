/** A credential to store; only the hash of its token is stored. */
export interface NewToken {
  id: string;
  userId: string;
  familyId: string;
  tokenHash: Buffer;
  expiresAt: Date | null;
  perMinute: number;
  perDay: number;
  parentId?: string;
  name?: string;
  prefix?: string;
  allowedTools?: readonly string[];
  allowedModels?: readonly string[];
  /** The most concurrent requests; 0: no limit. */
  maxConcurrent?: number;
  /** Millionths of a US dollar; undefined: no ceiling. */
  spendLimitMicros?: number;
  /** Scopes of an API key; empty: everything that a key may do. */
  scopes?: readonly string[];
  mayApprove?: boolean;
  /** Of a session: how its client names itself, and from which address it came. */
  client?: SessionClient;
}

/** The client of a session, as it was seen last. */
export interface SessionClient {
  readonly userAgent: string;
  readonly address: string;
}

const columns = `id, user_id, family_id, token_type, token_hash, expires_at, rate_limit_per_minute, rate_limit_per_day,
  name, prefix,
  allowed_tools, allowed_models, parent_id, max_concurrent, spend_limit_micros, scopes, may_approve, user_agent, address`;
const values = `$1::uuid, $2::uuid, $3::uuid, $4, $5::bytea, $6::timestamptz, $7::int, $8::int, $9, $10,
  $11::text[], $12::text[], $13::uuid, $14::int, $15::bigint, $16::text[], $17::bool,
  $18, $19`;

/** The statement that inserts a credential, once per row of `from`; `tokenValues` gives its parameters. */
export const insertToken = (from = "") => `insert into user_tokens (${columns}) select ${values} ${from}`;

/** The parameters of `insertToken`. */
export function tokenValues(token: NewToken, type: "refresh" | "api_key"): unknown[] {
  return [
    token.id,
    token.userId,
    token.familyId,
    type,
    token.tokenHash,
    token.expiresAt,
    token.perMinute,
    token.perDay,
    token.name ?? "",
    token.prefix ?? "",
    token.allowedTools ?? [],
    token.allowedModels ?? [],
    token.parentId ?? null,
    token.maxConcurrent ?? 0,
    token.spendLimitMicros ?? null,
    token.scopes ?? [],
    token.mayApprove ?? false,
    token.client?.userAgent ?? "",
    token.client?.address ?? "",
  ];
}
