import { create } from "@bufbuild/protobuf";
import { type CallReceipt, RunContextSchema } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { errorClass, isDataFault } from "./data-faults.ts";
import { type RunRow, runColumns, toRun } from "./rows.ts";
import { type ReadContext, readRunContext } from "./run-context.ts";
import { storable } from "./storable.ts";

/**
 * Locks the run, then its conversation, which becomes free. The raised epoch makes later commits of the run's worker
 * fail. The result is the run as it was before.
 */
const cancelSql = `
with wanted as (
  select * from runs where run_id = $1 and user_id = $2 for no key update
), cancelled as (
  update runs r
  set status = 'cancelled', cancel_requested = true, epoch = r.epoch + 1, seq = r.seq + 1, updated_at = now(), wake_at = null,
    deadline_at = null
  from wanted
  where r.run_id = wanted.run_id and wanted.status in ('queued', 'running', 'waiting', 'needs_review')
  returning r.run_id, r.conversation_id, r.seq
), logged as (
  insert into run_events (run_id, seq, type, payload)
  select run_id, seq, 'cancelled', json_build_object('reason', $3::text) from cancelled
), refused as (
  update approvals a
  set status = 'rejected', reason = 'The run was cancelled.', decided_at = now()
  from cancelled
  where a.run_id = cancelled.run_id and a.status = 'pending'
), freed as (
  update conversations c
  set active_run_id = null, status = 'active', updated_at = now()
  from cancelled
  where c.id = cancelled.conversation_id and c.active_run_id = cancelled.run_id
)
select ${runColumns}, r.owner, exists (select from cancelled) as cancelled, (
    select q.run_id from runs q
    where q.conversation_id = r.conversation_id and q.status = 'queued' and q.run_id <> r.run_id
    order by q.priority desc, q.created_at, q.run_id limit 1
  ) as next_run_id
from wanted r`;

interface CancelledRow extends RunRow {
  readonly owner: string;
  readonly cancelled: boolean;
  readonly next_run_id: string | null;
}

/** A run as it was before it was cancelled. */
interface CancelledRun extends ReadContext {
  /** Whether this call cancelled it; false when it was cancelled before. */
  readonly cancelled: boolean;
  /** The worker that owned it. */
  readonly owner: string;
  /** UUID of the queued run that may begin now; empty: none. */
  readonly nextRunId: string;
}

/** Ends one of a user's runs. Throws NOT_FOUND; RUN_ENDED when it is completed or failed. */
export async function cancelRun(db: Queryable, asked: { runId: string; userId: string; reason: string }): Promise<CancelledRun> {
  const { rows } = await db.query<CancelledRow>({
    name: "run-cancel",
    text: cancelSql,
    values: [asked.runId, asked.userId, storable(asked.reason || "user")],
  });
  const row = rows[0];
  if (row === undefined) throw notFound();
  if (!row.cancelled && row.status !== "cancelled") throw fail(ErrorReason.RUN_ENDED, "This run has ended.", { param: "run_id" });
  const read = await readRunContext(db, row).catch((error: unknown) => withoutMessages(row, error));
  return { ...read, cancelled: row.cancelled, owner: row.owner, nextRunId: row.next_run_id ?? "" };
}

/** The context of a run whose messages cannot be read: it is cancelled all the same. Rethrows any other error. */
function withoutMessages(row: RunRow, error: unknown): ReadContext {
  // A statement that failed has ended the transaction.
  if (errorClass(error) !== "" || !isDataFault(error)) throw error;
  return { context: create(RunContextSchema, { run: toRun(row) }), calls: [] };
}

const receiptsSql = "update runs set receipts = $3::json where run_id = $1 and user_id = $2 and status = 'cancelled'";

/** Stores the outcomes of the calls that were open when the run was cancelled. Throws NOT_FOUND. */
export async function recordReceipts(
  db: Queryable,
  { runId, userId, receipts }: { runId: string; userId: string; receipts: readonly CallReceipt[] },
): Promise<void> {
  const stored = receipts.map(({ callId, toolName, outcome }) => ({ call_id: callId, tool_name: toolName, outcome }));
  const { rowCount } = await db.query(receiptsSql, [runId, userId, JSON.stringify(stored)]);
  if (rowCount === 0) throw notFound();
}

/** The limit of a run's counters: a sum beyond its column would refuse the rest of the usage. */
const maxInteger = 2_147_483_647;

/** Locks in the order of commits: the run, then its conversation. */
const addUsageSql = `
with counted as (
  update runs r
  set prompt_tokens = least(r.prompt_tokens::bigint + $3::integer, ${maxInteger}),
    completion_tokens = least(r.completion_tokens::bigint + $4::integer, ${maxInteger}),
    total_tokens = least(r.total_tokens::bigint + $5::integer, ${maxInteger}),
    cost = r.cost + $6, updated_at = now()
  where r.run_id = $1 and r.user_id = $2
  returning r.conversation_id
)
update conversations c set total_tokens = c.total_tokens + $5, total_cost = c.total_cost + $6
from counted where c.id = counted.conversation_id and c.user_id = $2`;

/** Adds usage of a run that no commit contains. Throws NOT_FOUND. */
export async function addRunUsage(
  db: Queryable,
  used: { runId: string; userId: string; promptTokens: number; completionTokens: number; totalTokens: number; cost: number },
): Promise<void> {
  const { rowCount } = await db.query({
    name: "run-add-usage",
    text: addUsageSql,
    values: [used.runId, used.userId, used.promptTokens, used.completionTokens, used.totalTokens, used.cost],
  });
  if (rowCount === 0) throw notFound();
}

/** The error for a run that does not exist or is another user's. */
export function notFound() {
  return fail(ErrorReason.NOT_FOUND, "There is no such run.", { param: "run_id" });
}
