import { hedged } from "@turnwright/platform/postgres/patience";
import { answeredWithin } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import { fitting, textsOf } from "../response-size.ts";
import { type RunRow, runColumns } from "../rows.ts";
import type { ReadContext } from "../run-context.ts";
import { claimedContext } from "./abandon-run.ts";
import { claimableRuns, claimRun, claimTimeoutMs } from "./claim-run.ts";
import type { GraphVersions } from "./graph-versions.ts";
import { longestGapSeconds, shortestSeriesSeconds } from "./journal-pulse.ts";

/** Seconds without a heartbeat after which a worker loses its runs. */
const silenceSeconds = 3;
/** Claims without a commit in between after which a run is given up. */
const maxAttempts = 5;

/** Milliseconds for the statements with which a heartbeat begins. */
const heartbeatTimeoutMs = 2_000;

const silence = `${silenceSeconds} * interval '1 second'`;

const abandonedText = `The run was taken over ${maxAttempts} times without making a step, and is given up.`;

const heartbeatSql = `
insert into workers (owner) values ($1)
on conflict (owner) do update
set seen_at = now(), has_left = false,
  back_at = case
    when workers.seen_at < now() - ${silence}
      and coalesce(workers.back_at < now() - ${shortestSeriesSeconds} * interval '1 second', true) then now()
    else workers.back_at
  end`;

/**
 * Locks runs only, and skips those that another claim holds. A run claimed too often fails, and its conversation
 * becomes free. The silence of a worker that never sent a heartbeat counts from the run's last commit.
 *
 * A run that the worker owns but does not drive was claimed by a response that it did not receive, or it failed in a
 * way that the worker could not store. Such claims are attempts too, so that nothing fails forever, and leave the
 * run's deadline as it is. Each waits twice as long as the one before: only after a minute and a half of lost responses
 * is a run given up.
 *
 * Silence counts only while the journal could receive heartbeats and the asking worker could send them. After an outage
 * of either, the other workers have as much time to come back.
 */
const claimSql = `
with abandoned as (
  select r.run_id
  from runs r left join workers w on w.owner = r.owner
  where r.status = 'running' and r.graph_version between $5 and $2
    and case
      when r.owner = $1 then r.run_id <> all ($4::uuid[]) and r.updated_at < now() - ${silence} * power(2, greatest(r.attempt, 0))
      when w.has_left then true
      else coalesce(w.seen_at, r.updated_at) < now() - ${silence}
        and (select since < now() - ${silence} and seen_at > now() - ${longestGapSeconds} * interval '1 second'
          from journal_pulse)
        and (select coalesce(back_at < now() - ${silence}, true) from workers where owner = $1)
    end
  order by r.updated_at
  limit $3
  for no key update of r skip locked
), claimed as (
  update runs r
  set epoch = r.epoch + 1, attempt = r.attempt + 1, owner = $1, seq = r.seq + 1, updated_at = now(),
    status = case when r.attempt >= ${maxAttempts} then 'failed' else 'running' end,
    error = case when r.attempt >= ${maxAttempts} then '${abandonedText}' else r.error end,
    deadline_at = case when r.owner = $1 then r.deadline_at else now() + r.deadline_seconds * interval '1 second' end
  from abandoned
  where r.run_id = abandoned.run_id
  returning ${runColumns}
), logged as (
  insert into run_events (run_id, seq, type, payload)
  select run_id, seq, case status when 'failed' then 'failed' else 'recovered' end,
    case status when 'failed' then '{"reason":"ERROR_REASON_RUN_ABANDONED"}'::json end
  from claimed
), freed as (
  update conversations c set active_run_id = null, status = 'active', updated_at = now()
  from claimed where claimed.status = 'failed' and c.id = claimed.conversation_id and c.active_run_id = claimed.run_id
)
select row_to_json(claimed) as run, case when claimed.status = 'failed' then (
  select json_build_object(
    'agent', coalesce(nullif(r.agent, ''), nullif(r.state ->> 'agent', ''), c.agent_type),
    'attempts', r.attempt,
    'lastError', (
      select e.payload ->> 'error' from run_events e
      where e.run_id = r.run_id and e.type in ('retrying', 'model_attempt') order by e.seq desc limit 1
    )
  )
  from runs r join conversations c on c.id = r.conversation_id where r.run_id = claimed.run_id
) end as given_up
from claimed`;

const forgetSql = "delete from workers where seen_at < now() - interval '1 day'";

// A run that does not exist counts as lost too: its conversation was deleted.
const lostSql = `
select d.run_id
from unnest($2::uuid[]) as d(run_id) left join runs r on r.run_id = d.run_id
where r.run_id is null or r.status <> 'running' or r.owner <> $1`;

/** A run that was claimed too often and has ended with RUN_ABANDONED. */
export interface GivenUpRun {
  /** UUID. */
  readonly runId: string;
  /** UUID. */
  readonly conversationId: string;
  readonly agent: string;
  /** Claims without a commit in between. */
  readonly attempts: number;
  /** The newest error in the run's log; null: it has none. */
  readonly lastError: string | null;
  /** The text with which the run has ended. */
  readonly error: string;
}

/** A worker that sends a heartbeat. */
interface ClaimingWorker {
  /** UUID. */
  readonly id: string;
  readonly claimLimit: number;
  readonly versions: GraphVersions;
  /** UUIDs of the runs that it drives. */
  readonly driving: readonly string[];
  /** It reads the contexts of its runs by themselves, and claims queued runs itself. */
  readonly idsOnly: boolean;
  /** Called for each claimed run that ends because its context cannot be read. */
  onUnreadable(runId: string, cause: unknown): void;
  /** Called for each run that this heartbeat has ended because it was claimed too often. */
  onGivenUp(run: GivenUpRun): void;
}

/** Runs that a heartbeat gained: with their contexts, or by name. */
interface Gained {
  readonly claimed: ReadContext[];
  readonly claimedRuns: { readonly runId: string; readonly epoch: number }[];
  readonly dueRunIds: string[];
}

/**
 * Records a worker's heartbeat, claims for it runs of dead workers, names or claims queued runs that may begin, and
 * returns which of its runs it has lost. The next heartbeat repeats any part that failed after the first statement.
 */
export async function recordHeartbeat(pool: pg.Pool, worker: ClaimingWorker): Promise<Gained & { lost: string[] }> {
  const { id, driving } = worker;
  const beat = { name: "worker-beat", text: heartbeatSql, values: [id] };
  await hedged((signal) => pool.query(answeredWithin(heartbeatTimeoutMs, beat, signal)));
  const [lost, gained] = await Promise.allSettled([findLost(pool, id, driving), gain(pool, worker)]);
  if (gained.status === "rejected") throw gained.reason;
  return { ...gained.value, lost: lost.status === "fulfilled" ? lost.value : [] };
}

async function findLost(pool: pg.Pool, workerId: string, driving: readonly string[]): Promise<string[]> {
  if (driving.length === 0) return [];
  const query = { name: "worker-lost", text: lostSql, values: [workerId, driving] };
  const { rows } = await hedged((signal) => pool.query<{ run_id: string }>(answeredWithin(heartbeatTimeoutMs, query, signal)));
  return rows.map((row) => row.run_id);
}

/** The worker leaves in order, so its runs did not end it: the next claim does not count as an attempt. */
const leaveSql = `
with gone as (
  insert into workers (owner, has_left) values ($1, true)
  on conflict (owner) do update set has_left = true
)
update runs set attempt = attempt - 1 where owner = $1 and status = 'running'`;

/** Records that a worker has left: any other worker may claim its runs at once. */
export async function recordDeparture(pool: pg.Pool, workerId: string): Promise<void> {
  await pool.query(leaveSql, [workerId]);
}

/** Runs that did not fit in the response were not tried. */
const leftSql = "update runs set attempt = greatest(attempt - 1, 0) where owner = $1 and run_id = any ($2::uuid[])";

async function gain(pool: pg.Pool, worker: ClaimingWorker): Promise<Gained> {
  const { versions, claimLimit, idsOnly } = worker;
  if (claimLimit === 0) return { claimed: [], claimedRuns: [], dueRunIds: [] };
  const rows = await claimAbandoned(pool, worker);
  const limit = claimLimit - rows.length;
  const due = claimableRuns(pool, { versions, limit });
  if (!idsOnly) return { claimed: await readAll(pool, worker, { rows, due }), claimedRuns: [], dueRunIds: [] };
  const claimedRuns = rows.map(({ run_id, epoch }) => ({ runId: run_id, epoch }));
  // Claims stand, so a failed search for due runs does not fail the heartbeat.
  const dueRunIds = claimedRuns.length > 0 ? await due.catch(() => []) : await due;
  return { claimed: [], claimedRuns, dueRunIds };
}

/** A row of the claim; `given_up` has further facts about a run that has ended. */
interface ClaimRow {
  readonly run: RunRow;
  readonly given_up: Pick<GivenUpRun, "agent" | "attempts" | "lastError"> | null;
}

/** Claims runs of dead workers, and those of the worker that it does not drive. */
async function claimAbandoned(pool: pg.Pool, worker: ClaimingWorker): Promise<RunRow[]> {
  const { id, versions, claimLimit, driving } = worker;
  const values = [id, versions.newest, claimLimit, driving, versions.oldest];
  const statement = answeredWithin(claimTimeoutMs, { name: "worker-claim", text: claimSql, values });
  const { rows } = await pool.query<ClaimRow>(statement);
  if (rows.length > 0) pool.query(forgetSql).catch(() => {});
  for (const { run, given_up: facts } of rows) {
    if (facts !== null) worker.onGivenUp({ ...facts, runId: run.run_id, conversationId: run.conversation_id, error: run.error });
  }
  return rows.flatMap(({ run, given_up: facts }) => (facts === null ? [run] : []));
}

/**
 * For workers of earlier releases: claims due runs as well, and reads all contexts. A failed claim does not affect the
 * others. A run whose context could not be read, or does not fit in the response, stays under the worker's name until
 * one of its next heartbeats finds it.
 */
async function readAll(
  pool: pg.Pool,
  { id: workerId, versions, onUnreadable }: ClaimingWorker,
  { rows, due }: { rows: readonly RunRow[]; due: Promise<string[]> },
): Promise<ReadContext[]> {
  const reading = rows.map((run) => claimedContext(pool, run, onUnreadable));
  const begin = (runId: string) => claimRun(pool, { runId, workerId, versions, onUnreadable });
  const claiming = due.then((runIds) => Promise.allSettled(runIds.map(begin)));
  const [recovered, begun] = await Promise.allSettled([Promise.allSettled(reading), claiming]);
  const outcomes = [recovered, begun].flatMap((one) => (one.status === "fulfilled" ? one.value : [one]));
  const claimed = outcomes.flatMap((one) => (one.status === "fulfilled" && one.value !== undefined ? [one.value] : []));
  const failure = outcomes.find((one) => one.status === "rejected");
  if (claimed.length === 0 && failure !== undefined) throw failure.reason;
  const given = fitting(claimed, ({ context }) => context.messages.flatMap(textsOf));
  const left = claimed.slice(given.length).map(({ context }) => context.run?.id ?? "");
  if (left.length > 0) await pool.query(leftSql, [workerId, left]);
  return given;
}
