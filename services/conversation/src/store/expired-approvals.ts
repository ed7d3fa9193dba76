import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { transaction } from "@turnwright/platform/postgres/pool";
import pg from "pg";

/** The number of runs that one sweep handles. */
const sweptAtOnce = 100;
/** The most runs that are left out of sweeps. */
const maxLeft = 1_000;

// Locks the run's row first, as decisions do. A row that a decision holds is skipped.
const lockSql = `
select r.run_id from runs r
where r.run_id in (
  select a.run_id from approvals a
  where a.status = 'pending' and a.expires_at <= now() and a.run_id <> all ($1::uuid[]) and ($2::uuid is null or a.run_id = $2)
  order by a.expires_at limit ${sweptAtOnce}
)
for no key update of r skip locked`;

const rejectSql = `
update approvals set status = 'rejected', reason = 'expired', decided_at = now()
where run_id = any ($1::uuid[]) and status = 'pending' and expires_at <= now()
returning id, run_id, call_id, tool_name`;

/** A run without pending calls is queued. The next heartbeat of a worker that drives its graph version claims it. */
const resumeSql = `
with resumed as (
  update runs r
  set status = 'queued', owner = '', seq = r.seq + 1, updated_at = now()
  where r.run_id = any ($1::uuid[]) and r.status = 'waiting'
    and not exists (select from approvals a where a.run_id = r.run_id and a.epoch = r.epoch and a.status = 'pending')
  returning r.run_id, r.conversation_id, r.seq, r.epoch
), logged as (
  insert into run_events (run_id, seq, type, payload)
  select resumed.run_id, resumed.seq, 'resumed', json_build_object('expired', true, 'calls', (
    select json_agg(json_build_object('call_id', a.call_id, 'approved', a.status = 'approved') order by a.position)
    from approvals a where a.run_id = resumed.run_id and a.epoch = resumed.epoch and a.status <> 'superseded'
  ))
  from resumed
)
update conversations c set status = 'active', updated_at = now() from resumed where c.id = resumed.conversation_id`;

/** Runs whose calls cannot be rejected. Left out of later sweeps, they do not take the place of others. */
export interface Unsweepable {
  readonly runIds: Set<string>;
  /** Called with each run that is added. */
  readonly onAdded: (runId: string, error: Error) => void;
}

/**
 * Rejects expired calls and queues runs that no longer wait. Returns the number of rejected calls. When the database
 * refuses a sweep as a whole, each of its runs is swept alone, and one that is refused again becomes unsweepable.
 */
export async function rejectExpiredApprovals(pool: pg.Pool, unsweepable?: Unsweepable): Promise<number> {
  const left = unsweepable?.runIds ?? new Set();
  let runIds: string[] = [];
  try {
    return await sweep(pool, [...left], undefined, (found) => {
      runIds = found;
    });
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || runIds.length === 0) throw error;
  }
  let calls = 0;
  for (const runId of runIds) {
    try {
      calls += await sweep(pool, [], runId);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      if (left.size < maxLeft) left.add(runId);
      unsweepable?.onAdded(runId, error);
    }
  }
  return calls;
}

function sweep(
  pool: pg.Pool,
  left: readonly string[],
  only: string | undefined,
  onFound: (runIds: string[]) => void = () => {},
): Promise<number> {
  return transaction(pool, async (tx) => {
    const { rows: runs } = await tx.query<{ run_id: string }>(lockSql, [left, only ?? null]);
    if (runs.length === 0) return 0;
    const runIds = runs.map(({ run_id }) => run_id);
    onFound(runIds);
    const { rows } = await tx.query<{ id: string; run_id: string; call_id: string; tool_name: string }>(rejectSql, [runIds]);
    for (const { id, run_id, call_id, tool_name } of rows) {
      const details = { run_id, call_id, tool: tool_name, approved: false };
      await appendAudit(tx, undefined, { action: "approval.expired", outcome: "success", subject: id, details });
    }
    await tx.query(resumeSql, [runIds]);
    return rows.length;
  });
}
