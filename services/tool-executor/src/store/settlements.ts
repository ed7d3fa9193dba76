import type { Queryable } from "@turnwright/platform/postgres/pool";
import type { KnownCall } from "./known-calls.ts";

/** A person's finding about a call. */
export interface Settlement {
  readonly callId: string;
  /** JSON text of the call's output; null: the call did not take effect. */
  readonly output: string | null;
}

/** A call after an attempt to settle it. */
export interface SettledCall extends Pick<KnownCall, "status" | "output" | "error" | "durationMs"> {
  /** False: its outcome was known already, or it may still run. */
  readonly isSettledNow: boolean;
  readonly toolName: string;
}

/** The text that the model reads about a call that did not take effect. */
export const notDone = "Nobody knew how this call ended; a person found that it was not done.";

// An expired lease counts as unknown: only the next request for the call would write that down.
const settleSql = `
with asked as (
  select * from unnest($3::text[], $4::text[]) as a(tool_call_id, output)
), held as (
  select e.id, a.output
  from tool_executions e join asked a using (tool_call_id)
  where e.run_id = $1 and e.user_id = $2
    and (e.status = 'unknown' or (e.status = 'running' and e.effect = 'once' and e.lease_until <= now()))
  order by e.tool_call_id
  for update of e
), settled as (
  update tool_executions e
  set status = case when held.output is null then 'failed' else 'success' end, output = held.output::json,
    error_message = case when held.output is null then $5 end, settled_by = $2, settled_at = now(),
    completed_at = coalesce(e.completed_at, now()), lease_until = null
  from held
  where e.id = held.id
  returning e.id, e.status, e.output::text as output, e.error_message, e.duration_ms
)
select e.tool_call_id, e.tool_name, s.id is not null as settled, coalesce(s.status, e.status) as status, s.output,
  s.error_message as error, coalesce(s.duration_ms, 0) as duration_ms
from asked a join tool_executions e using (tool_call_id) left join settled s on s.id = e.id
where e.run_id = $1 and e.user_id = $2`;

/** Settles calls with an unknown outcome of a user's run. Calls that the user does not have are absent. */
export async function settleUnknownCalls(
  db: Queryable,
  run: { runId: string; userId: string },
  settlements: readonly Settlement[],
): Promise<Map<string, SettledCall>> {
  const { rows } = await db.query<{
    tool_call_id: string;
    tool_name: string;
    settled: boolean;
    status: KnownCall["status"];
    output: string | null;
    error: string | null;
    duration_ms: number;
  }>(settleSql, [
    run.runId,
    run.userId,
    settlements.map(({ callId }) => callId),
    settlements.map(({ output }) => output),
    notDone,
  ]);
  return new Map(
    rows.map(({ tool_call_id, tool_name, settled, status, output, error, duration_ms }) => [
      tool_call_id,
      { isSettledNow: settled, toolName: tool_name, status, output, error, durationMs: duration_ms },
    ]),
  );
}
