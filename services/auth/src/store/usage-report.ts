import type { Queryable } from "@turnwright/platform/postgres/pool";
import { keyNameSql } from "./usage.ts";

/** The columns by which a report may tell rows apart. */
export const usageGroups = ["day", "user", "model", "credential"] as const;
export type UsageGroupName = (typeof usageGroups)[number];

/** The place of a row in a report. A column that is not grouped has the value of `absent`. */
export interface UsagePosition {
  /** YYYY-MM-DD */
  readonly day: string;
  readonly userId: string;
  readonly model: string;
  readonly tokenId: string;
}

const nil = "00000000-0000-0000-0000-000000000000";

/** The values of columns that are not grouped. */
export const absent: UsagePosition = { day: "1970-01-01", userId: nil, model: "", tokenId: nil };

/** Sums over rows of the table. */
export interface UsageSums {
  readonly requests: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly costMicros: number;
  readonly estimatedTokens: number;
  readonly unpricedRequests: number;
}

/** The largest number that is read back exactly. */
const most = "9007199254740991";
const counts = [
  "requests",
  "prompt_tokens",
  "completion_tokens",
  "cost_micros",
  "estimated_tokens",
  "unpriced_requests",
] as const;
const sums = (prefix: string) =>
  counts.map((name) => `least(${most}, coalesce(sum(${name}), 0))::bigint as ${prefix}${name}`).join(", ");

const columns: Readonly<Record<UsageGroupName, { name: string; column: string; constant: string }>> = {
  day: { name: "day", column: "day", constant: `date '${absent.day}'` },
  user: { name: "user_id", column: "user_id", constant: `uuid '${nil}'` },
  // The order must be one that a row comparison knows, whatever language the database has.
  model: { name: "model", column: `model collate "C"`, constant: `''::text collate "C"` },
  credential: { name: "token_id", column: "token_id", constant: `uuid '${nil}'` },
};

const order = "day desc, user_id desc, model desc, token_id desc";
const chosen = "day between $1::date and $2::date and ($3::uuid is null or user_id = $3)";

/**
 * $1, $2: days; $3: user or null; $4: rows; $5 to $8: the position after which the page begins, unless it is the first.
 * A page with days is read newest day first and only as far as it goes; the sum is read without groups.
 */
function reportSql(groupBy: readonly UsageGroupName[], isFirst: boolean): string {
  const selected = usageGroups.map((group) => ({ ...columns[group], isGrouped: groupBy.includes(group) }));
  const values = selected.map(({ isGrouped, column, constant }) => (isGrouped ? column : constant));
  const grouped = selected.flatMap(({ isGrouped, column }) => (isGrouped ? [column] : []));
  const after = `and (${values.join(", ")}) < ($5::date, $6::uuid, $7::text, $8::uuid)`;
  // The row comparison alone would not bound the scan.
  const fromDay = groupBy.includes("day") ? "and day <= $5::date" : "";
  return `with total as (
      select ${sums("total_")} from usage where ${chosen}
    ), page as (
      select ${selected.map(({ name }, i) => `${values[i]} as ${name}`).join(", ")}, ${sums("")}
      from usage where ${chosen} ${isFirst ? "" : `${after} ${fromDay}`}
      group by ${grouped.join(", ")}
      order by ${grouped.map((column) => `${column} desc`).join(", ")} limit $4
    )
    select page.day::text as day, user_id, model, token_id, ${keyNameSql("page.token_id")} as key_name, ${counts.join(", ")},
      ${counts.map((name) => `total_${name}`).join(", ")}
    from total left join page on true
    order by ${order}`;
}

type Count = (typeof counts)[number];
type Row = { day: string | null; user_id: string; model: string; token_id: string; key_name: string } & Record<
  Count | `total_${Count}`,
  number
>;

const sumsOf = (row: Row, prefix: "" | "total_"): UsageSums => ({
  requests: row[`${prefix}requests`],
  promptTokens: row[`${prefix}prompt_tokens`],
  completionTokens: row[`${prefix}completion_tokens`],
  costMicros: row[`${prefix}cost_micros`],
  estimatedTokens: row[`${prefix}estimated_tokens`],
  unpricedRequests: row[`${prefix}unpriced_requests`],
});

/**
 * A page of the usage of all users, or of one, in a range of days, both included, newest first; and the sum over all
 * pages. `next` is the position after the page; undefined on the last one.
 */
export async function reportUsage(
  db: Queryable,
  query: {
    start: string;
    end: string;
    userId: string | undefined;
    /** At least one. */
    groupBy: readonly UsageGroupName[];
    after: UsagePosition | undefined;
    limit: number;
  },
): Promise<{ rows: (UsagePosition & UsageSums & { readonly keyName: string })[]; total: UsageSums; next?: UsagePosition }> {
  const { start, end, userId = null, after, limit } = query;
  const position = after === undefined ? [] : [after.day, after.userId, after.model, after.tokenId];
  // One row more than the page shows whether another page follows.
  const { rows } = await db.query<Row>(reportSql(query.groupBy, after === undefined), [
    start,
    end,
    userId,
    limit + 1,
    ...position,
  ]);
  const found = rows.flatMap((row) =>
    row.day === null
      ? []
      : [
          {
            day: row.day,
            userId: row.user_id,
            model: row.model,
            tokenId: row.token_id,
            keyName: row.key_name,
            ...sumsOf(row, ""),
          },
        ],
  );
  const page = found.slice(0, limit);
  // The sum is in every row, also in the only one of an empty page.
  return { rows: page, total: sumsOf(rows[0] as Row, "total_"), next: found.length > limit ? page.at(-1) : undefined };
}
