import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import { isDataFault } from "../data-faults.ts";
import type { RunRow } from "../rows.ts";
import { type ReadContext, readClaimedContext } from "../run-context.ts";
import { storable } from "../storable.ts";

const abandonSql = `
with ended as (
  update runs
  set status = 'failed', error = $3, seq = seq + 1, updated_at = now()
  where run_id = $1 and epoch = $2 and status = 'running'
  returning run_id, conversation_id, seq
), logged as (
  insert into run_events (run_id, seq, type, payload) select run_id, seq, 'failed', $4::json from ended
), freed as (
  update conversations c set active_run_id = null, status = 'active', updated_at = now()
  from ended where c.id = ended.conversation_id and c.active_run_id = ended.run_id
)
select from ended`;

/**
 * Fails a claimed run that cannot go on; `reason` is empty when its credential has ended. Throws STALE_EPOCH when
 * another worker owns it.
 */
export async function abandonRun(
  pool: pg.Pool,
  run: { id: string; epoch: number; error: string; reason: string },
): Promise<void> {
  const payload = JSON.stringify({ reason: run.reason || "ERROR_REASON_RUN_CREDENTIAL_ENDED" });
  const { rowCount } = await pool.query(abandonSql, [run.id, run.epoch, storable(run.error), payload]);
  if (rowCount === 0) throw fail(ErrorReason.STALE_EPOCH, "This run has ended or belongs to a newer owner.", { param: "epoch" });
}

const abandonQueuedSql = `
with ended as (
  update runs
  set status = 'failed', error = $2, seq = seq + 1, updated_at = now(), wake_at = null
  where run_id = $1 and status = 'queued'
  returning run_id, conversation_id, seq
), logged as (
  insert into run_events (run_id, seq, type, payload) select run_id, seq, 'failed', $3::json from ended
)
update conversations c set active_run_id = null, status = 'active', updated_at = now()
from ended where c.id = ended.conversation_id and c.active_run_id = ended.run_id`;

/** Fails a queued run that no worker can claim. */
export async function abandonQueued(pool: pg.Pool, run: { id: string; error: string }): Promise<void> {
  await pool.query(abandonQueuedSql, [run.id, run.error, JSON.stringify({ reason: "ERROR_REASON_INTERNAL" })]);
}

/**
 * The context of a run just claimed. A run whose context cannot be read for good ends, and `onUnreadable` learns the
 * cause; it would be claimed in vain again and again. Rejects with any other error.
 */
export async function claimedContext(
  pool: pg.Pool,
  row: RunRow,
  onUnreadable: (runId: string, cause: unknown) => void,
): Promise<ReadContext | undefined> {
  try {
    return await readClaimedContext(pool, row);
  } catch (error) {
    if (!isDataFault(error)) throw error;
    onUnreadable(row.run_id, error);
    const ended = { id: row.run_id, epoch: row.epoch, error: "The messages of the run's conversation cannot be read." };
    await abandonRun(pool, { ...ended, reason: "ERROR_REASON_INTERNAL" });
    return undefined;
  }
}
