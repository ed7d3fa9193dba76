import type { Queryable } from "@turnwright/platform/postgres/pool";
import { neverBegan } from "../calls/call-result.ts";
import type { Claim } from "./calls.ts";

const completeSql = `
update tool_executions
set status = 'success', output = $3::json, error_message = null, completed_at = now(), lease_until = null
where id = $1 and claim = $2 and status = 'unknown'`;

/**
 * Stores the output that a probe found for a call with an unknown outcome, unless the call was settled or claimed
 * since.
 */
export async function completeProbed(db: Queryable, { id, claim }: Claim, output: string): Promise<void> {
  await db.query(completeSql, [id, claim, output]);
}

const restartSql = `
update tool_executions
set status = case when cancel_requested then 'cancelled' else 'running' end,
  claim = claim + 1,
  epoch = greatest(epoch, $3::integer),
  error_message = case when cancel_requested then $5 end,
  started_at = case when not cancel_requested then now() end,
  completed_at = case when cancel_requested then now() end,
  lease_until = case when not cancel_requested then now() + $4 * interval '1 millisecond' end
where id = $1 and claim = $2 and status = 'unknown'
returning id, claim, status`;

/**
 * Claims again a call that never began, by the word of its tool's probe. Gives nothing when the call was settled or
 * claimed since. A call that was stopped for good becomes cancelled, and gives nothing either.
 */
export async function restartProbed(
  db: Queryable,
  { id, claim }: Claim,
  init: { epoch: number; leaseMs: number },
): Promise<Claim | undefined> {
  const values = [id, claim, init.epoch, init.leaseMs, neverBegan];
  const { rows } = await db.query<Claim & { status: string }>(restartSql, values);
  const row = rows[0];
  return row?.status === "running" ? { id: row.id, claim: row.claim } : undefined;
}
