import type { Queryable } from "@turnwright/platform/postgres/pool";

const keptMinutes = 60;

/** A credential that ended or changed. */
export interface StoredRevocation {
  readonly id: bigint;
  readonly tokenId: string;
  /** UUID of its account; empty: the credential no longer exists. */
  readonly userId: string;
  readonly kind: "api_key" | "session" | "";
  readonly hasEnded: boolean;
}

interface RevocationRow {
  readonly id: number;
  readonly token_id: string;
  readonly user_id: string | null;
  readonly kind: StoredRevocation["kind"];
  readonly has_ended: boolean;
}

const listSql = `
select r.id, r.token_id, coalesce(k.user_id, s.user_id) as user_id,
  case when k.user_id is not null then 'api_key' when s.user_id is not null then 'session' else '' end as kind,
  coalesce(k.is_revoked, s.has_ended, false) as has_ended
from revocations r
left join user_tokens k on k.id = r.token_id and k.token_type = 'api_key'
left join lateral (
  select f.user_id, bool_and(f.is_revoked) as has_ended
  from user_tokens f where f.family_id = r.token_id and f.token_type = 'refresh' group by f.user_id
) s on k.id is null
where r.revoked_at > now() - make_interval(secs => $1)`;

/** Credentials that ended or changed in the last seconds, by the database's clock. */
export async function listRevocations(db: Queryable, seconds: number): Promise<StoredRevocation[]> {
  const { rows } = await db.query<RevocationRow>({ name: "list-revocations", text: listSql, values: [seconds] });
  return rows.map((row) => ({
    id: BigInt(row.id),
    tokenId: row.token_id,
    userId: row.user_id ?? "",
    kind: row.kind,
    hasEnded: row.has_ended,
  }));
}

/** Deletes revocations that every process has seen: identities are cached for minutes. */
export async function pruneRevocations(db: Queryable): Promise<void> {
  await db.query("delete from revocations where revoked_at < now() - make_interval(mins => $1)", [keptMinutes]);
}
