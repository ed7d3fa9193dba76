import { ErrorReason, fail } from "@turnwright/platform/errors";
import { hedged } from "@turnwright/platform/postgres/patience";
import { answeredWithin } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import { type RunRow, runColumns } from "../rows.ts";
import { type ReadContext, readClaimedContext } from "../run-context.ts";
import { claimableRuns, claimRun, claimTimeoutMs } from "./claim-run.ts";
import type { GraphVersions } from "./graph-versions.ts";
import { longestGapSeconds, shortestSeriesSeconds } from "./journal-pulse.ts";

/** How long a worker may be silent before its runs are somebody else's. */
const silenceSeconds = 3;
/** After so many claims without a commit between them a run is taken for what kills its workers. */
const maxAttempts = 5;

/** In milliseconds; for what a beat does at once. */
const beatTimeoutMs = 2_000;

const silence = `${silenceSeconds} * interval '1 second'`;

const beatSql = `
insert into workers (owner) values ($1)
on conflict (owner) do update
set seen_at = now(), has_left = false,
  back_at = case
    when workers.seen_at < now() - ${silence} and coalesce(workers.back_at < now() - ${shortestSeriesSeconds} * interval '1 second', true) then now()
    else workers.back_at
  end`;

/**
 * Locks runs only, and none that somebody else is about to claim. What was claimed too often ends; its conversation is
 * set free. A run whose worker has never been heard of counts from its last commit; one of the worker's own that it
 * does not drive was claimed by an answer that it did not get, which does not count as an end.
 *
 * Silence counts while the journal could hear, and the worker that asks could be heard: after an outage of either, the
 * others have as long to come back.
 */
const claimSql = `
with abandoned as (
  select r.run_id
  from runs r left join workers w on w.owner = r.owner
  where r.status = 'running' and r.graph_version between $5 and $2
    and case
      when r.owner = $1 then r.run_id <> all ($4::uuid[]) and r.updated_at < now() - ${silence}
      when w.has_left then true
      else coalesce(w.seen_at, r.updated_at) < now() - ${silence}
        and (select since < now() - ${silence} and seen_at > now() - ${longestGapSeconds} * interval '1 second' from journal_pulse)
        and (select coalesce(back_at < now() - ${silence}, true) from workers where owner = $1)
    end
  order by r.updated_at
  limit $3
  for no key update of r skip locked
), claimed as (
  update runs r
  set epoch = r.epoch + 1, attempt = r.attempt + (r.owner <> $1)::integer, owner = $1, seq = r.seq + 1, updated_at = now(),
    status = case when r.attempt + (r.owner <> $1)::integer > ${maxAttempts} then 'failed' else 'running' end,
    error = case when r.attempt + (r.owner <> $1)::integer > ${maxAttempts} then 'The run ended its worker too often.' else r.error end,
    deadline_at = now() + r.deadline_seconds * interval '1 second'
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
select row_to_json(claimed) as run from claimed where status = 'running'`;

const forgetSql = "delete from workers where seen_at < now() - interval '1 day'";

// A run that is not there at all counts as lost too: its conversation was deleted.
const lostSql = `
select d.run_id
from unnest($2::uuid[]) as d(run_id) left join runs r on r.run_id = d.run_id
where r.run_id is null or r.status <> 'running' or r.owner <> $1`;

/**
 * Notes that a worker is alive, claims runs of dead ones and those whose turn it is for it, and tells which of its runs
 * are no longer its own. What fails behind the sign of life is found by the next one.
 */
export async function beat(
  pool: pg.Pool,
  worker: { id: string; claimLimit: number; versions: GraphVersions; driving: readonly string[] },
): Promise<{ claimed: ReadContext[]; lost: string[] }> {
  const { id, driving } = worker;
  await hedged(() => pool.query(answeredWithin(beatTimeoutMs, { name: "worker-beat", text: beatSql, values: [id] })));
  const [lost, claimed] = await Promise.allSettled([findLost(pool, id, driving), claim(pool, worker)]);
  if (claimed.status === "rejected") throw claimed.reason;
  return { claimed: claimed.value, lost: lost.status === "fulfilled" ? lost.value : [] };
}

async function findLost(pool: pg.Pool, workerId: string, driving: readonly string[]): Promise<string[]> {
  if (driving.length === 0) return [];
  const statement = answeredWithin(beatTimeoutMs, { name: "worker-lost", text: lostSql, values: [workerId, driving] });
  const { rows } = await hedged(() => pool.query<{ run_id: string }>(statement));
  return rows.map((row) => row.run_id);
}

/** What the worker was told to give back did not kill it: the claim that follows does not count. */
const leaveSql = `
with gone as (
  insert into workers (owner, has_left) values ($1, true)
  on conflict (owner) do update set has_left = true
)
update runs set attempt = attempt - 1 where owner = $1 and status = 'running'`;

/** Notes that a worker drives nothing any more: its runs are anybody's at once. */
export async function leave(pool: pg.Pool, workerId: string): Promise<void> {
  await pool.query(leaveSql, [workerId]);
}

/**
 * What is claimed once it is claimed: a failure at one claim keeps nobody from the others. A run whose context could
 * not be read stands under the worker's name, and one of its next beats finds it there.
 */
async function claim(
  pool: pg.Pool,
  worker: { id: string; claimLimit: number; versions: GraphVersions; driving: readonly string[] },
): Promise<ReadContext[]> {
  if (worker.claimLimit === 0) return [];
  const { id: workerId, versions, claimLimit, driving } = worker;
  const values = [workerId, versions.newest, claimLimit, driving, versions.oldest];
  const statement = answeredWithin(claimTimeoutMs, { name: "worker-claim", text: claimSql, values });
  const { rows } = await pool.query<{ run: RunRow }>(statement);
  if (rows.length > 0) pool.query(forgetSql).catch(() => {});
  const reading = rows.map(({ run }) => readClaimedContext(pool, run));
  const claimable = claimableRuns(pool, { versions, limit: claimLimit - rows.length });
  const claiming = claimable.then((runIds) =>
    Promise.allSettled(runIds.map((runId) => claimRun(pool, { runId, workerId, versions }))),
  );
  const [recovered, begun] = await Promise.allSettled([Promise.allSettled(reading), claiming]);
  const outcomes = [recovered, begun].flatMap((one) => (one.status === "fulfilled" ? one.value : [one]));
  const claimed = outcomes.flatMap((one) => (one.status === "fulfilled" && one.value !== undefined ? [one.value] : []));
  const failure = outcomes.find((one) => one.status === "rejected");
  if (claimed.length === 0 && failure !== undefined) throw failure.reason;
  return claimed;
}

const abandonSql = `
with ended as (
  update runs
  set status = 'failed', error = $3, seq = seq + 1, updated_at = now()
  where run_id = $1 and epoch = $2 and status = 'running'
  returning run_id, conversation_id, seq
), logged as (
  insert into run_events (run_id, seq, type, payload) select run_id, seq, 'failed', '{"reason":"ERROR_REASON_RUN_CREDENTIAL_ENDED"}'::json from ended
), freed as (
  update conversations c set active_run_id = null, status = 'active', updated_at = now()
  from ended where c.id = ended.conversation_id and c.active_run_id = ended.run_id
)
select from ended`;

/** Ends a claimed run whose credential has ended. Throws STALE_EPOCH when it is somebody else's. */
export async function abandonRun(pool: pg.Pool, run: { id: string; epoch: number; error: string }): Promise<void> {
  const { rowCount } = await pool.query(abandonSql, [run.id, run.epoch, run.error]);
  if (rowCount === 0) throw fail(ErrorReason.STALE_EPOCH, "This run has ended or belongs to a newer owner.", { param: "epoch" });
}
