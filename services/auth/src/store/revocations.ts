import type { Queryable } from "@turnwright/platform/postgres/pool";

const keptMinutes = 60;

/** Credentials that ended or changed in the last seconds, by the database's clock. */
export async function listRevocations(db: Queryable, seconds: number): Promise<{ id: bigint; tokenId: string }[]> {
  const { rows } = await db.query<{ id: number; token_id: string }>({
    name: "list-revocations",
    text: "select id, token_id from revocations where revoked_at > now() - make_interval(secs => $1)",
    values: [seconds],
  });
  return rows.map((row) => ({ id: BigInt(row.id), tokenId: row.token_id }));
}

/** Deletes revocations that every process has seen: identities are cached for minutes. */
export async function pruneRevocations(db: Queryable): Promise<void> {
  await db.query("delete from revocations where revoked_at < now() - make_interval(mins => $1)", [keptMinutes]);
}
