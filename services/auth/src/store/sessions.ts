import type { Queryable } from "@turnwright/platform/postgres";
import { insertToken, type NewToken, tokenValues } from "./tokens.ts";

/** Stores the first refresh token of a session. */
export async function insertSession(db: Queryable, token: NewToken): Promise<void> {
  await db.query(insertToken, tokenValues(token, "refresh"));
}

/**
 * Replaces a live refresh token by its child, in one statement: of many at once, one succeeds. Gives the session and its user, or
 * undefined when the token is unknown, used, revoked or has ended, or the user is not active.
 */
export async function rotateRefreshToken(
  db: Queryable,
  change: { oldHash: Buffer; id: string; newHash: Buffer; expiresAt: Date },
): Promise<{ userId: string; sessionId: string; role: string } | undefined> {
  const { rows } = await db.query<{ user_id: string; family_id: string; role: string }>({
    name: "rotate-refresh-token",
    text: `with old as (
      update user_tokens t set is_revoked = true, revoked_at = now(), updated_at = now(), last_used_at = now()
      from users u
      where t.token_hash = $1 and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now()
        and u.id = t.user_id and u.is_active
      returning t.id, t.user_id, t.family_id, t.rate_limit_per_minute, t.rate_limit_per_day, t.allowed_tools, t.allowed_models, u.role
    ), child as (
      insert into user_tokens
        (id, user_id, family_id, parent_id, token_type, token_hash, expires_at, rate_limit_per_minute, rate_limit_per_day,
         allowed_tools, allowed_models)
      select $2, user_id, family_id, id, 'refresh', $3, $4, rate_limit_per_minute, rate_limit_per_day, allowed_tools, allowed_models
      from old
      returning user_id
    )
    select old.user_id, old.family_id, old.role from old, child`,
    values: [change.oldHash, change.id, change.newHash, change.expiresAt],
  });
  const old = rows[0];
  return old && { userId: old.user_id, sessionId: old.family_id, role: old.role };
}

/** Ends a session: none of its refresh tokens works any more. */
export async function revokeSession(db: Queryable, session: { userId: string; sessionId: string }): Promise<void> {
  await db.query(
    `update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
     where family_id = $1 and user_id = $2 and token_type = 'refresh' and not is_revoked`,
    [session.sessionId, session.userId],
  );
}
