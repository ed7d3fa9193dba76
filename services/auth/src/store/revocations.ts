import type { Queryable } from "@turnwright/platform/postgres";

const keptMinutes = 60;

/** The `token_id` of credentials that ended in the last seconds, by the database's clock. */
export async function listRevocations(db: Queryable, seconds: number): Promise<string[]> {
  const { rows } = await db.query<{ token_id: string }>({
    name: "list-revocations",
    text: "select distinct token_id from revocations where revoked_at > now() - make_interval(secs => $1)",
    values: [seconds],
  });
  return rows.map((row) => row.token_id);
}

/** Forgets what everybody has seen long since: what is cached of a credential lives for minutes. */
export async function pruneRevocations(db: Queryable): Promise<void> {
  await db.query("delete from revocations where revoked_at < now() - make_interval(mins => $1)", [keptMinutes]);
}
