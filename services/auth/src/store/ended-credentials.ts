import type { Queryable } from "@turnwright/platform/postgres/pool";

interface EndedRow {
  readonly token_type: "refresh" | "api_key";
  readonly is_active: boolean;
  readonly is_revoked: boolean;
}

// All refresh tokens of a session except the current one are revoked. The session was revoked if that one is revoked
// too.
const endedSql = `
select t.token_type, u.is_active, bool_and(t.is_revoked) as is_revoked
from user_tokens t join users u on u.id = t.user_id
where t.user_id = $1 and ((t.token_type = 'refresh' and t.family_id = $2) or (t.token_type = 'api_key' and t.id = $2))
group by t.token_type, u.is_active`;

/** The reason why the credential that started a run is no longer valid, as the error of the run. */
export async function whyEnded(db: Queryable, credential: { userId: string; tokenId: string }): Promise<string> {
  const { rows } = await db.query<EndedRow>(endedSql, [credential.userId, credential.tokenId]);
  const [ended] = rows;
  if (ended === undefined) return "The credential that started this run no longer exists.";
  if (!ended.is_active) return "The account that started this run is disabled.";
  if (ended.token_type === "api_key")
    return `The API key that started this run ${ended.is_revoked ? "was revoked" : "has expired"}.`;
  return `The login that started this run has ended: its session ${ended.is_revoked ? "was ended" : "has expired"}.`;
}

/** Whether an API key, known by its secret, has expired and was not revoked; its user is active. */
export async function isExpiredKey(db: Queryable, tokenHash: Buffer): Promise<boolean> {
  const { rows } = await db.query({
    name: "is-expired-key",
    text: `select 1 from user_tokens t join users u on u.id = t.user_id
      where t.token_hash = $1 and t.token_type = 'api_key' and not t.is_revoked and t.expires_at <= now() and u.is_active`,
    values: [tokenHash],
  });
  return rows.length > 0;
}
