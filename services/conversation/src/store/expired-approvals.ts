import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { transaction } from "@turnwright/platform/postgres/pool";
import type pg from "pg";

/** The number of runs that one sweep handles. */
const sweptAtOnce = 100;

// Locks the run's row first, as decisions do. A row that a decision holds is skipped.
const lockSql = `
select r.run_id from runs r
where r.run_id in (
  select a.run_id from approvals a where a.status = 'pending' and a.expires_at <= now() order by a.expires_at limit ${sweptAtOnce}
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
    from approvals a where a.run_id = resumed.run_id and a.epoch = resumed.epoch
  ))
  from resumed
)
update conversations c set status = 'active', updated_at = now() from resumed where c.id = resumed.conversation_id`;

/** Rejects expired calls and queues runs that no longer wait. Returns the number of rejected calls. */
export function rejectExpiredApprovals(pool: pg.Pool): Promise<number> {
  return transaction(pool, async (tx) => {
    const { rows: runs } = await tx.query<{ run_id: string }>(lockSql);
    if (runs.length === 0) return 0;
    const runIds = runs.map(({ run_id }) => run_id);
    const { rows } = await tx.query<{ id: string; run_id: string; call_id: string; tool_name: string }>(rejectSql, [runIds]);
    for (const { id, run_id, call_id, tool_name } of rows) {
      const details = { run_id, call_id, tool: tool_name, approved: false };
      await appendAudit(tx, undefined, { action: "approval.expired", outcome: "success", subject: id, details });
    }
    await tx.query(resumeSql, [runIds]);
    return rows.length;
  });
}
