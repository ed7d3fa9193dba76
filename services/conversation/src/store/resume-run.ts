import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { checkKinship, type Decider, type StartedRun } from "../deciders.ts";
import { notFound } from "./cancel-run.ts";
import { claimedOrQueued, type GraphVersions } from "./claims/graph-versions.ts";
import { type RunRow, runColumns } from "./rows.ts";
import { type ReadContext, readRunContext } from "./run-context.ts";

const starterSql = "select family_id from runs where run_id = $1 and user_id = $2";

/**
 * Checks that a caller may decide on calls of their own run. The starter of a run never changes. Throws NOT_FOUND,
 * PERMISSION_DENIED.
 */
export async function checkDecider(db: Queryable, { runId, decider }: { runId: string; decider: Decider }): Promise<void> {
  const { rows } = await db.query<StartedRun>({ name: "run-starter", text: starterSql, values: [runId, decider.userId] });
  if (rows[0] === undefined) throw notFound();
  checkKinship(decider, rows[0]);
}

/** A run whose graph version the reviewer's process does not drive is queued. */
const resumeSql = `
with claimed as (
  update runs r
  set seq = r.seq + 1, updated_at = now(), ${claimedOrQueued({ owner: "$3", oldest: "$4", newest: "$5" })}
  where r.run_id = $1 and r.user_id = $2 and r.status = 'needs_review'
  returning r.*
), logged as (
  insert into run_events (run_id, seq, type, payload) select run_id, seq, 'resumed', '{"because":"review"}'::json from claimed
)
select ${runColumns} from claimed r`;

/**
 * Claims a user's run after its review. Without a context, the run was queued, because the worker does not drive its
 * graph version. Throws NOT_FOUND, NOTHING_TO_REVIEW; PERMISSION_DENIED for a caller who may not decide on its calls.
 */
export async function resumeRun(
  db: Queryable,
  asked: { runId: string; decider: Decider; workerId: string; versions: GraphVersions },
): Promise<{
  /** UUID of the credential that started the run. */
  startedBy: string;
  context?: ReadContext;
}> {
  const { userId } = asked.decider;
  await checkDecider(db, asked);
  const { rows } = await db.query<RunRow>({
    name: "run-resume",
    text: resumeSql,
    values: [asked.runId, userId, asked.workerId, asked.versions.oldest, asked.versions.newest],
  });
  const row = rows[0];
  if (row !== undefined) {
    const startedBy = row.token_id ?? "";
    return row.status === "queued" ? { startedBy } : { startedBy, context: await readRunContext(db, row) };
  }
  throw fail(ErrorReason.NOTHING_TO_REVIEW, "This run does not wait for a review.", { param: "run_id" });
}
