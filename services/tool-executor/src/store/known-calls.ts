import type { Queryable } from "@turnwright/platform/postgres/pool";
import type { CallResult } from "../calls/call-result.ts";
import type { CallIdentity } from "../calls/checked-call.ts";
import type { Claim, RunScope } from "./calls.ts";

/** A call that was claimed before, as it stands in the ledger. */
export interface KnownCall extends Claim {
  readonly status: CallResult["status"] | "running";
  /** The row is of the same user, tool and arguments. */
  readonly matches: boolean;
  /** This look-up claimed the call again. */
  readonly taken: boolean;
  /** The call was stopped for good. */
  readonly isStopped: boolean;
  readonly output: string | null;
  readonly error: string | null;
  readonly durationMs: number;
  /** Milliseconds until the lease of the process that runs the call expires; 0 or less when it has. */
  readonly leaseLeftMs: number;
}

const revisitSql = `
with asked as (
  select * from unnest($3::text[], $4::text[], $5::text[]) as a(tool_call_id, tool_name, arguments_hash)
), lapsed as (
  select e.id, case
      when e.status = 'running' and e.effect = 'once' then 'unknown'
      when e.cancel_requested then 'cancelled'
      else 'running'
    end as next
  from tool_executions e join asked a using (tool_call_id, tool_name, arguments_hash)
  where e.run_id = $1 and e.user_id = $2
    and (
      (e.status = 'running' and e.lease_until <= now() and $11::boolean
        and ($6::boolean or e.effect = 'once' or e.cancel_requested))
      or (e.status = 'cancelled' and $6::boolean and not e.cancel_requested)
    )
  order by e.id
  for update of e
), moved as (
  update tool_executions e
  set status = next,
    claim = case when next = 'running' then e.claim + 1 else e.claim end,
    error_message = case next when 'unknown' then $7 when 'cancelled' then $10 end,
    epoch = greatest(e.epoch, $8::integer),
    started_at = case when next = 'running' then now() else e.started_at end,
    completed_at = case when next = 'running' then null else now() end,
    lease_until = case when next = 'running' then now() + $9 * interval '1 millisecond' end
  from lapsed
  where e.id = lapsed.id
  returning e.id, e.status, e.claim, e.error_message
)
select e.id, e.tool_call_id, coalesce(m.claim, e.claim) as claim, coalesce(m.status, e.status) as status,
  e.user_id = $2 and e.tool_name = a.tool_name and e.arguments_hash = a.arguments_hash as matches,
  coalesce(m.status = 'running', false) as taken, e.cancel_requested and e.user_id = $2 as stopped,
  e.started_at is not null as began, e.output::text as output, coalesce(m.error_message, e.error_message) as error,
  coalesce(e.duration_ms, 0) as duration_ms,
  coalesce(extract(epoch from e.lease_until - now()) * 1000, 0)::double precision as lease_left_ms
from asked a join tool_executions e using (tool_call_id) left join moved m on m.id = e.id
where e.run_id = $1`;

interface KnownRow {
  id: string;
  tool_call_id: string;
  claim: number;
  status: KnownCall["status"];
  matches: boolean;
  taken: boolean;
  stopped: boolean;
  began: boolean;
  output: string | null;
  error: string | null;
  duration_ms: number;
  lease_left_ms: number;
}

/** The error of a `once` call whose process has died. */
export const lostCall = "The process that ran the call is gone; nobody knows whether it took effect.";
/** The error of a stopped call whose process has died. */
export const stoppedCall = "The call was cancelled while it ran.";

/**
 * Looks up calls in the ledger; calls that were never claimed are absent. With `takeOver` it also claims again a call
 * whose lease has expired or that was cancelled before it took effect. A `once` call whose lease has expired becomes
 * `unknown`. Right after an outage (`isSettled` false) no lease counts as expired.
 */
export async function revisitCalls(
  db: Queryable,
  scope: RunScope,
  calls: readonly CallIdentity[],
  options: { takeOver: boolean; leaseMs: number; isSettled: boolean },
): Promise<Map<string, KnownCall>> {
  const { rows } = await db.query<KnownRow>(revisitSql, [
    scope.runId,
    scope.userId,
    calls.map(({ callId }) => callId),
    calls.map(({ toolName }) => toolName),
    calls.map(({ argumentsHash }) => argumentsHash),
    options.takeOver,
    lostCall,
    scope.epoch,
    options.leaseMs,
    stoppedCall,
    options.isSettled,
  ]);
  return new Map(
    rows.map(({ tool_call_id, duration_ms, lease_left_ms, stopped, ...row }) => [
      tool_call_id,
      { ...row, durationMs: duration_ms, leaseLeftMs: lease_left_ms, isStopped: stopped },
    ]),
  );
}
