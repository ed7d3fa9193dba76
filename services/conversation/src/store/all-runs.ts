import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { afterPosition, createdUsOf, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import {
  type Condition,
  type Conditions,
  conditionsOf,
  conjunction,
  type RunFilter,
  runsOfPage,
  standing,
  valuesOf,
} from "./run-list.ts";
import { factColumns, type InfoRow, toRunInfo } from "./runs.ts";

/** The most runs that one page looks at, whatever its filter passes over. */
export const mostSeen = 20_000;

const after = afterPosition("$1", "$2", { createdAt: "r.created_at", id: "r.run_id" });
const firstCondition = 5;

/**
 * `last` is the last run that the page may look at; there is none when fewer are left. Its position is the cursor of a
 * page that found too little. Exported for the test of its plan.
 */
export function allRunsSql({ range, run, conversation }: Conditions): string {
  const inRange = conjunction(range, firstCondition);
  const ofRun = firstCondition + range.length;
  return `
with last as materialized (
  select r.created_at, r.run_id, ${createdUsOf("r.created_at")} from runs r
  where ${after}${inRange}
  order by r.created_at desc, r.run_id desc offset $4::integer - 1 limit 1
), page as materialized (
  select r.run_id from runs r
  where ${after}${inRange}${conjunction(run, ofRun)} and (r.created_at, r.run_id) >= (
      coalesce((select created_at from last), '-infinity'),
      coalesce((select run_id from last), '00000000-0000-0000-0000-000000000000')
    )
    and ${standing(conversation, ofRun + run.length)}
  order by r.created_at desc, r.run_id desc
  limit $3
), found as (
  select r.user_id, left(r.error, 1000) as error, null as input, null as response, null as unsettled, null as receipts,
    '' as title, ${createdUsOf("r.created_at")}, ${factColumns}
  from ${runsOfPage}
)
select found.*, last.created_us as last_us, last.run_id as last_id
from (select) as always left join found on true left join last on true
order by found.created_at desc, found.run_id desc`;
}

type Row = InfoRow & { user_id: string; created_us: number; last_us: number | null; last_id: string | null };
type NoRow = { [name in keyof InfoRow]: null } & Pick<Row, "last_us" | "last_id">;

/**
 * A page of the runs of all users, or of one, newest first, without texts. `next` is the start of the following page;
 * unset on the last. It looks at `mostSeen` runs at most, so that a filter that fits few of them bounds its work.
 */
export async function listAllRuns(
  db: Queryable,
  asked: { userId: string; filter: RunFilter; after: KeysetPosition; limit: number; seen?: number },
): Promise<{ runs: { userId: string; run: RunInfo }[]; next?: KeysetPosition }> {
  const { userId, filter, after, limit, seen = mostSeen } = asked;
  const asConditions = conditionsOf(filter);
  const range: Condition[] = userId === "" ? [] : [["r.user_id = $::uuid", userId]];
  const conditions = { ...asConditions, range: [...range, ...asConditions.range] };
  const { rows } = await db.query<Row | NoRow>(allRunsSql(conditions), [
    after.createdUs,
    after.id,
    // One row more than the page shows whether another page follows.
    limit + 1,
    seen,
    ...valuesOf(conditions),
  ]);
  const found = rows.flatMap((row) => (row.run_id === null ? [] : [row]));
  const { page, next } = keysetPage(found, limit, ({ run_id }) => run_id);
  const [{ last_us: lastUs = null, last_id: lastId = null } = {}] = rows;
  const last = lastUs === null || lastId === null ? undefined : { createdUs: lastUs, id: lastId };
  return { runs: page.map((row) => ({ userId: row.user_id, run: toRunInfo(row) })), next: next ?? last };
}
