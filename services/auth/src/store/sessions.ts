import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Session, SessionSchema, type User } from "@turnwright/contract/auth/v1/identity";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { insertToken, type NewToken, type SessionClient, tokenValues } from "./tokens.ts";
import { type UserRow, userColumns, userOf } from "./users.ts";

/** The session of a refresh token and its user. */
interface RefreshedSession {
  readonly userId: string;
  readonly sessionId: string;
  readonly role: string;
}

/** Seconds in which reuse of the current refresh token's parent counts as a retry, not as a theft. */
const graceSeconds = 10;

/**
 * Stores the first refresh token of a session and locks its account, in one statement, if the account is active and
 * still has the verified password. Returns the account; undefined: it has changed since.
 */
export async function insertSession(db: Queryable, token: NewToken, shown: { passwordHash: string }): Promise<User | undefined> {
  const { rows } = await db.query<UserRow>(
    `with account as materialized (
       select ${userColumns} from users where id = $2 and is_active and password_hash = $20 for share
     ), session as (
       ${insertToken("from account")}
     )
     select ${userColumns} from account`,
    [...tokenValues(token, "refresh"), shown.passwordHash],
  );
  return rows[0] && userOf(rows[0]);
}

/** Refreshes of one session within a minute. */
export const refreshesPerMinute = 60;

/**
 * Replaces a valid refresh token by its child, in one statement: one of several concurrent calls succeeds. Returns the
 * session and its user; `limited` when the session was refreshed too often; undefined when the token is unknown, used,
 * revoked or expired, or the user is inactive.
 */
export async function rotateRefreshToken(
  db: Queryable,
  change: { oldHash: Buffer; id: string; newHash: Buffer; expiresAt: Date; perMinute: number; client: SessionClient },
): Promise<RefreshedSession | "limited" | undefined> {
  const { rows } = await db.query<{ user_id: string; family_id: string; role: string; is_limited: boolean }>({
    name: "rotate-refresh-token",
    // A transaction that ends the session locks the account alone. If it came first, the update finds the token as it
    // is afterwards; if this one did, the other's statements start later and see the child.
    text: `with account as materialized (
      select u.id, u.role from users u join user_tokens t on t.user_id = u.id
      where t.token_hash = $1 and t.token_type = 'refresh' and u.is_active
      for share of u
    ), limited as materialized (
      select t.user_id, t.family_id from user_tokens t, account
      where t.token_hash = $1 and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now() and (
        select count(*) from user_tokens f
        where f.family_id = t.family_id and f.token_type = 'refresh' and f.created_at > now() - interval '1 minute'
          and f.parent_id is not null
      ) >= ${refreshesPerMinute}
    ), old as (
      update user_tokens t set is_revoked = true, revoked_at = now(), rotated_at = now(), updated_at = now(), last_used_at = now()
      from account u
      where t.token_hash = $1 and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now() and u.id = t.user_id
        and not exists (select from limited)
      returning t.id, t.user_id, t.family_id, t.rate_limit_per_day, t.allowed_tools, t.allowed_models, u.role
    ), child as (
      insert into user_tokens
        (id, user_id, family_id, parent_id, token_type, token_hash, expires_at, rate_limit_per_minute, rate_limit_per_day,
         allowed_tools, allowed_models, user_agent, address)
      select $2, user_id, family_id, id, 'refresh', $3, $4, $5, rate_limit_per_day, allowed_tools, allowed_models, $6, $7
      from old
      returning user_id
    )
    select old.user_id, old.family_id, old.role, false as is_limited from old, child
    union all
    select user_id, family_id, '', true from limited`,
    values: [
      change.oldHash,
      change.id,
      change.newHash,
      change.expiresAt,
      change.perMinute,
      change.client.userAgent,
      change.client.address,
    ],
  });
  return rows[0]?.is_limited ? "limited" : sessionOf(rows[0]);
}

function sessionOf(row: { user_id: string; family_id: string; role: string } | undefined): RefreshedSession | undefined {
  return row && { userId: row.user_id, sessionId: row.family_id, role: row.role };
}

/**
 * The session of a refresh token that was replaced a moment ago by a child with this hash, which is the current one:
 * the client repeats a refresh whose response it did not receive. Undefined for any other token.
 */
export async function findRetriedRefresh(
  db: Queryable,
  token: { oldHash: Buffer; newHash: Buffer },
): Promise<RefreshedSession | undefined> {
  const { rows } = await db.query<{ user_id: string; family_id: string; role: string }>(
    `select child.user_id, child.family_id, u.role
     from user_tokens old
     join user_tokens child on child.parent_id = old.id and child.token_type = 'refresh'
     join users u on u.id = child.user_id and u.is_active
     where old.token_hash = $1 and old.token_type = 'refresh' and old.rotated_at > now() - make_interval(secs => $3)
       and child.token_hash = $2 and not child.is_revoked and child.expires_at > now()`,
    [token.oldHash, token.newHash, graceSeconds],
  );
  return sessionOf(rows[0]);
}

/**
 * Ends the family of a refresh token that was used before: one of its two users is a thief. The account must be locked.
 * Returns the session that ended; undefined when the token is unknown or its family has ended already.
 */
export async function revokeReusedFamily(
  db: Queryable,
  oldHash: Buffer,
): Promise<{ userId: string; sessionId: string } | undefined> {
  const { rows } = await db.query<{ user_id: string; family_id: string }>(
    `update user_tokens t set is_revoked = true, revoked_at = now(), updated_at = now()
     from user_tokens old
     where old.token_hash = $1 and old.token_type = 'refresh' and old.is_revoked
       and t.family_id = old.family_id and t.token_type = 'refresh' and not t.is_revoked
     returning t.user_id, t.family_id`,
    [oldHash],
  );
  return rows[0] && { userId: rows[0].user_id, sessionId: rows[0].family_id };
}

/**
 * Ends a session of a user whose account is locked: all its refresh tokens become invalid. Returns whether there was a
 * session to end.
 */
export async function revokeSession(db: Queryable, session: { userId: string; sessionId: string }): Promise<boolean> {
  const { rowCount } = await db.query(
    `update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
     where family_id = $1 and user_id = $2 and token_type = 'refresh' and not is_revoked`,
    [session.sessionId, session.userId],
  );
  return rowCount !== 0;
}

/** Ends all sessions of a user whose account is locked; returns their ids. */
export async function revokeAllSessions(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ family_id: string }>(
    `update user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
     where user_id = $1 and token_type = 'refresh' and not is_revoked
     returning family_id`,
    [userId],
  );
  return rows.map((row) => row.family_id);
}

/** Whether a user has or had this session. */
export async function hasSession(db: Queryable, session: { userId: string; sessionId: string }): Promise<boolean> {
  const { rowCount } = await db.query(
    "select 1 from user_tokens where family_id = $1 and user_id = $2 and token_type = 'refresh' limit 1",
    [session.sessionId, session.userId],
  );
  return rowCount !== 0;
}

interface SessionRow {
  readonly family_id: string;
  readonly created_at: Date;
  readonly last_used_at: Date;
  readonly expires_at: Date;
  readonly user_agent: string;
  readonly address: string;
}

/** A user's valid sessions, most recently used first. */
export async function listSessions(db: Queryable, userId: string): Promise<Session[]> {
  const { rows } = await db.query<SessionRow>(
    `select t.family_id, first.created_at, coalesce(t.last_used_at, t.created_at) as last_used_at, t.expires_at,
       t.user_agent, t.address
     from user_tokens t
     cross join lateral (
       select min(created_at) as created_at from user_tokens f where f.family_id = t.family_id and f.user_id = t.user_id
     ) first
     where t.user_id = $1 and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now()
     order by last_used_at desc, t.family_id
     limit 1000`,
    [userId],
  );
  return rows.map((row) =>
    create(SessionSchema, {
      id: row.family_id,
      createdAt: timestampFromDate(row.created_at),
      lastUsedAt: timestampFromDate(row.last_used_at),
      expiresAt: timestampFromDate(row.expires_at),
      userAgent: row.user_agent,
      address: row.address,
    }),
  );
}
