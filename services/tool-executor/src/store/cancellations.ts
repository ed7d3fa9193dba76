import type { Queryable } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type CallResult, neverBegan } from "../calls/call-result.ts";
import { type KnownCall, lostCall, stoppedCall } from "./known-calls.ts";

/** A stopped call as it stands in the ledger. */
export interface StoppedCall extends CallResult {
  readonly status: Exclude<KnownCall["status"], "running">;
}

/** A call that was told to stop and still runs. */
export interface StoppingCall {
  readonly status: "running";
  readonly isRead: boolean;
  /** Milliseconds until the lease of its process expires. */
  readonly leaseLeftMs: number;
}

// A run belongs to one user. If its id holds calls of another user, nothing is inserted.
const tombstoneSql = `
insert into tool_executions (id, run_id, user_id, token_id, status, completed_at, cancel_requested, tool_call_id,
  tool_name, tool_version, effect, input, arguments_hash, error_message)
select c.id, $1::uuid, $2::uuid, $3::uuid, 'cancelled', now(), true, c.tool_call_id, '', '', 'read', '{}', '', $4
from unnest($5::uuid[], $6::text[]) as c(id, tool_call_id)
where not exists (select from tool_executions e where e.run_id = $1 and e.user_id <> $2)
on conflict (run_id, tool_call_id) do nothing`;

const stopSql = `
with stopped as (
  select e.id, case
      when e.status <> 'running' or e.lease_until > now() or not $6 then e.status
      when e.effect = 'once' then 'unknown'
      else 'cancelled'
    end as next
  from tool_executions e
  where e.run_id = $1 and e.user_id = $2 and e.tool_call_id = any ($3::text[])
    and e.status in ('running', 'cancelled', 'unknown')
    and (not e.cancel_requested or (e.status = 'running' and e.lease_until <= now()))
  order by e.tool_call_id
  for update of e
), marked as (
  update tool_executions e
  set cancel_requested = true, status = next,
    error_message = case when next = e.status then e.error_message when next = 'unknown' then $4 else $5 end,
    completed_at = case when next = e.status then e.completed_at else now() end,
    lease_until = case when next = 'running' then e.lease_until end
  from stopped
  where e.id = stopped.id
  returning e.id, e.status, e.error_message
)
select e.tool_call_id, coalesce(m.status, e.status) as status, e.effect = 'read' as read,
  e.started_at is not null as began, e.output::text as output, coalesce(m.error_message, e.error_message) as error,
  coalesce(e.duration_ms, 0) as duration_ms,
  coalesce(extract(epoch from e.lease_until - now()) * 1000, 0)::double precision as lease_left_ms
from tool_executions e left join marked m on m.id = e.id
where e.run_id = $1 and e.user_id = $2 and e.tool_call_id = any ($3::text[])`;

interface StoppedRow {
  tool_call_id: string;
  status: KnownCall["status"];
  read: boolean;
  began: boolean;
  output: string | null;
  error: string | null;
  duration_ms: number;
  lease_left_ms: number;
}

/**
 * Inserts a cancelled row for each call that the ledger does not have yet. A later claim finds the row, so the call
 * never begins; the insert waits for a claim that is under way.
 */
export async function forestallCalls(
  db: Queryable,
  run: { runId: string; userId: string; tokenId: string },
  callIds: readonly string[],
): Promise<void> {
  // Sorted like claims, so that the two cannot deadlock.
  const sorted = callIds.toSorted((a, b) => (a < b ? -1 : 1));
  const ids = sorted.map(() => uuidv7());
  await db.query(tombstoneSql, [run.runId, run.userId, run.tokenId === "" ? null : run.tokenId, neverBegan, ids, sorted]);
}

/**
 * Tells calls to stop, in whichever process they run, and gives the state of each. Calls that the user does not have
 * are absent. Right after an outage (`isSettled` false) no lease counts as expired.
 */
export async function stopCalls(
  db: Queryable,
  run: { runId: string; userId: string },
  callIds: readonly string[],
  isSettled: boolean,
): Promise<Map<string, StoppedCall | StoppingCall>> {
  const { rows } = await db.query<StoppedRow>(stopSql, [run.runId, run.userId, callIds, lostCall, stoppedCall, isSettled]);
  return new Map(
    rows.map(({ tool_call_id, status, read, began, output, error, duration_ms, lease_left_ms }) => [
      tool_call_id,
      status === "running"
        ? { status, isRead: read, leaseLeftMs: lease_left_ms }
        : { status, began, output, error, durationMs: duration_ms },
    ]),
  );
}
