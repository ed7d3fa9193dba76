import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";

const uuidBytes = 16;

/** Reads by primary keys only: a list of 1,000 runs costs a few milliseconds, however many runs there are. */
export const changedSql = `
select w.place::int - 1 as place
from unnest($1::uuid[], $2::int[]) with ordinality as w (run_id, seq, place)
left join runs r on r.run_id = w.run_id
left join conversations c on c.id = r.conversation_id and c.deleted_at is null
where c.id is null or r.seq <> w.seq or r.status in ('completed', 'failed', 'cancelled')
order by w.place`;

/**
 * The places, in a list of runs, of those that have another newest log entry than given, have ended or are gone.
 * `runIds`: UUIDs of 16 bytes each. Throws INVALID_REQUEST when the lists do not fit together.
 */
export async function listChangedRuns(
  db: Queryable,
  { runIds, seqs }: { runIds: Uint8Array; seqs: readonly number[] },
): Promise<number[]> {
  if (runIds.length !== seqs.length * uuidBytes) {
    throw fail(ErrorReason.INVALID_REQUEST, "seqs: must have one number for each run", { param: "seqs" });
  }
  if (seqs.length === 0) return [];
  const bytes = Buffer.from(runIds.buffer, runIds.byteOffset, runIds.byteLength);
  const ids = seqs.map((_, index) => bytes.toString("hex", index * uuidBytes, (index + 1) * uuidBytes));
  const { rows } = await db.query<{ place: number }>({ name: "runs-changed", text: changedSql, values: [ids, seqs] });
  return rows.map(({ place }) => place);
}
