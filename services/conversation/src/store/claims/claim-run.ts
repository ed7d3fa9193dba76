import { hedged } from "@turnwright/platform/postgres/patience";
import { answeredWithin } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import { isDataFault } from "../data-faults.ts";
import { type RunRow, runColumns } from "../rows.ts";
import type { ReadContext } from "../run-context.ts";
import { abandonQueued, claimedContext } from "./abandon-run.ts";
import type { GraphVersions } from "./graph-versions.ts";

/**
 * Whether a queued run may begin: it already holds its conversation, because it is parked or is about to begin, or the
 * conversation is free and no other run is ahead. A run that has to wait must not be found. It may wait long, behind a
 * run whose graph version nobody drives, and would take the place of others in the limit.
 */
const isNext = `c.deleted_at is null and (
    c.active_run_id = r.run_id or c.active_run_id is null and not exists (
      select from runs o
      where o.conversation_id = r.conversation_id and o.status = 'queued' and o.run_id <> r.run_id
        and (-o.priority, o.created_at, o.run_id) < (-r.priority, r.created_at, r.run_id)
    )
  )`;

const claimableSql = `
select r.run_id
from runs r join conversations c on c.id = r.conversation_id
where r.status = 'queued' and coalesce(r.wake_at <= now(), true) and r.graph_version between $1 and $2 and ${isNext}
order by r.priority desc, r.created_at, r.run_id
limit $3`;

/** Milliseconds that a claim may take. It may be short, because the next heartbeat claims again. */
export const claimTimeoutMs = 2_000;

/** UUIDs of queued runs that may begin, oldest first. */
export async function claimableRuns(pool: pg.Pool, asked: { versions: GraphVersions; limit: number }): Promise<string[]> {
  if (asked.limit <= 0) return [];
  const values = [asked.versions.oldest, asked.versions.newest, asked.limit];
  const query = { name: "runs-claimable", text: claimableSql, values };
  const { rows } = await hedged((signal) => pool.query<{ run_id: string }>(answeredWithin(claimTimeoutMs, query, signal)));
  return rows.map((row) => row.run_id);
}

/**
 * Locks the run, then the conversation. A claim that comes too late finds the run no longer queued; one that comes too
 * early finds the conversation taken or another run ahead. The message of a run that begins is stored in the same
 * statement, so it follows the previous answer.
 */
const claimSql = `
with wanted as (
  select r.run_id, r.conversation_id, r.input, r.input_parts, r.priority, r.created_at
  from runs r
  where r.run_id = $1 and r.status = 'queued' and coalesce(r.wake_at <= now(), true)
    and r.graph_version between $3 and $5
  for no key update skip locked
), opened as (
  update conversations c
  set active_run_id = wanted.run_id, status = 'active', updated_at = now(),
    message_count = c.message_count + (wanted.input is not null)::integer,
    last_message_at = case when wanted.input is null then c.last_message_at else now() end
  from wanted
  where c.id = wanted.conversation_id and c.deleted_at is null and (
    c.active_run_id = wanted.run_id or c.active_run_id is null and not exists (
      select from runs o
      where o.conversation_id = wanted.conversation_id and o.status = 'queued' and o.run_id <> wanted.run_id
        and (-o.priority, o.created_at, o.run_id) < (-wanted.priority, wanted.created_at, wanted.run_id)
    )
  )
  returning c.id, c.message_count
), said as (
  insert into messages (conversation_id, id, run_id, sequence_number, role, content, parts)
  select opened.id, $4, wanted.run_id, opened.message_count, 'user', wanted.input, wanted.input_parts from opened, wanted where wanted.input is not null
), claimed as (
  update runs r
  set status = 'running', epoch = r.epoch + 1, owner = $2, seq = r.seq + 1, input = null, input_parts = null, wake_at = null,
    updated_at = now(),
    deadline_at = now() + r.deadline_seconds * interval '1 second'
  from opened
  where r.run_id = $1
  returning r.*
), logged as (
  insert into run_events (run_id, seq, type) select run_id, seq, case epoch when 1 then 'started' else 'retried' end from claimed
)
select ${runColumns} from claimed r`;

/**
 * Claims a queued run for a worker. Undefined when the run may not begin yet, or when the worker does not drive its
 * graph version. A run that can never begin or be read ends; it would be claimed in vain again and again.
 */
export async function claimRun(
  pool: pg.Pool,
  asked: {
    runId: string;
    workerId: string;
    versions: GraphVersions;
    /** Called when the run ends because it cannot begin or its context cannot be read. */
    onUnreadable(runId: string, cause: unknown): void;
  },
): Promise<ReadContext | undefined> {
  const { oldest, newest } = asked.versions;
  const values = [asked.runId, asked.workerId, oldest, uuidv7(), newest];
  const statement = answeredWithin(claimTimeoutMs, { name: "run-claim", text: claimSql, values });
  try {
    const { rows } = await pool.query<RunRow>(statement);
    return rows[0] === undefined ? undefined : await claimedContext(pool, rows[0], asked.onUnreadable);
  } catch (error) {
    if (!isDataFault(error)) throw error;
    asked.onUnreadable(asked.runId, error);
    await abandonQueued(pool, { id: asked.runId, error: "The run cannot begin: its message or its conversation is damaged." });
    return undefined;
  }
}

const claimedSql = `
select ${runColumns} from runs r where r.run_id = $1 and r.owner = $2 and r.epoch = $3 and r.status = 'running'`;

/** The context of a run that a heartbeat claimed under an epoch; undefined when that claim is no longer valid. */
export async function readClaim(
  pool: pg.Pool,
  claim: { runId: string; workerId: string; epoch: number; onUnreadable(runId: string, cause: unknown): void },
): Promise<ReadContext | undefined> {
  const values = [claim.runId, claim.workerId, claim.epoch];
  const statement = answeredWithin(claimTimeoutMs, { name: "run-claimed", text: claimedSql, values });
  const { rows } = await hedged(() => pool.query<RunRow>(statement));
  return rows[0] === undefined ? undefined : await claimedContext(pool, rows[0], claim.onUnreadable);
}
