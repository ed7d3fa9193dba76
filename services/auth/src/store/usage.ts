import type { Queryable } from "@turnwright/platform/postgres/pool";

/** Usage of one or more model calls. */
export interface Usage {
  readonly userId: string;
  readonly tokenId: string;
  readonly model: string;
  readonly requests: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly costMicros: number;
  /** The number of estimated tokens among them. */
  readonly estimatedTokens: number;
  /** The number of requests of a model without a price among them. */
  readonly unpricedRequests: number;
}

/** Sums stay at 2^53 - 1, the largest that is read back as a number: one more would make the account unreadable. */
const most = "9007199254740991";

const recordUsageText = `insert into usage as u
    (user_id, token_id, day, model, requests, prompt_tokens, completion_tokens, cost_micros, estimated_tokens, unpriced_requests)
  select r.user_id, r.token_id, (now() at time zone 'UTC')::date, r.model, least(${most}, sum(r.requests)),
    least(${most}, sum(r.prompt)), least(${most}, sum(r.completion)), least(${most}, sum(r.cost)),
      least(${most}, sum(r.estimated)), least(${most}, sum(r.unpriced))
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
      $9::bigint[])
    as r (user_id, token_id, model, requests, prompt, completion, cost, estimated, unpriced)
  join users on users.id = r.user_id
  group by r.user_id, r.token_id, r.model
  order by r.user_id, r.token_id, r.model
  on conflict (user_id, day, token_id, model) do update set
    requests = least(${most}, u.requests + excluded.requests),
    prompt_tokens = least(${most}, u.prompt_tokens + excluded.prompt_tokens),
    completion_tokens = least(${most}, u.completion_tokens + excluded.completion_tokens),
    cost_micros = least(${most}, u.cost_micros + excluded.cost_micros),
    estimated_tokens = least(${most}, u.estimated_tokens + excluded.estimated_tokens),
    unpriced_requests = least(${most}, u.unpriced_requests + excluded.unpriced_requests)`;

function columns(records: readonly Usage[]): unknown[] {
  return [
    records.map((record) => record.userId),
    records.map((record) => record.tokenId),
    records.map((record) => record.model),
    records.map((record) => record.requests),
    records.map((record) => record.promptTokens),
    records.map((record) => record.completionTokens),
    records.map((record) => record.costMicros),
    records.map((record) => record.estimatedTokens),
    records.map((record) => record.unpricedRequests),
  ];
}

/** Adds usage to the rows of the current day (UTC). */
export async function recordUsage(db: Queryable, records: readonly Usage[]): Promise<void> {
  await db.query({ name: "record-usage", text: recordUsageText, values: columns(records) });
}

/** The columns by which a user's usage may be told apart. */
export const ownGroups = ["day", "model", "credential"] as const;
export type OwnGroup = (typeof ownGroups)[number];

/** Sums of a user's usage. A column that is not grouped is empty. */
export interface UsageOfUser extends Omit<Usage, "userId"> {
  /** YYYY-MM-DD */
  readonly day: string;
  /** Name of the API key; empty for a session. */
  readonly keyName: string;
}

const counts = [
  "requests",
  "prompt_tokens",
  "completion_tokens",
  "cost_micros",
  "estimated_tokens",
  "unpriced_requests",
] as const;
const columnOf: Readonly<Record<OwnGroup, string>> = { day: "day", model: "model", credential: "token_id" };

/** SQL for the name of the API key `token_id`; empty for a session. */
export const keyNameSql = (tokenId: string) =>
  `coalesce((select t.name from user_tokens t where t.id = ${tokenId} and t.token_type = 'api_key'), '')`;

function listSql(groupBy: readonly OwnGroup[]): string {
  const shown = (group: OwnGroup, sql: string) => (groupBy.includes(group) ? sql : "''");
  const byDay = groupBy.includes("day") ? "day desc, " : "";
  return `with recursive line as (
      select $2::uuid as id
      union
      select child.id from user_tokens child join line on child.parent_id = line.id
      where child.user_id = $1 and child.token_type = 'api_key'
    ), summed as (
      select ${groupBy.map((group) => columnOf[group]).join(", ")},
        ${counts.map((name) => `least(${most}, sum(${name}))::bigint as ${name}`).join(", ")}
      from usage
      where user_id = $1 and ($2::uuid is null or token_id in (select id from line))
        and day >= coalesce($3::date, (now() at time zone 'UTC')::date - 30)
        and day <= coalesce($4::date, (now() at time zone 'UTC')::date)
      group by ${groupBy.map((group) => columnOf[group]).join(", ")}
      order by ${byDay}cost_micros desc, ${groupBy.map((group) => columnOf[group]).join(", ")} limit 10000
    )
    select ${shown("day", "day::text")} as shown_day, ${shown("model", "model")} as shown_model,
      ${shown("credential", "token_id::text")} as token, ${shown("credential", keyNameSql("token_id"))} as key_name,
      ${counts.join(", ")}
    from summed order by ${byDay}cost_micros desc, ${groupBy.map((group) => columnOf[group]).join(", ")}`;
}

type ListRow = { shown_day: string; shown_model: string; token: string; key_name: string } & Record<
  (typeof counts)[number],
  number
>;

/**
 * A user's usage in a range of days, newest first, in groups; of one token and its descendants, if one is given.
 * `groupBy` has one column at least.
 */
export async function listUsage(
  db: Queryable,
  query: {
    userId: string;
    tokenId: string | undefined;
    start: string | undefined;
    end: string | undefined;
    groupBy: readonly OwnGroup[];
  },
): Promise<UsageOfUser[]> {
  const { rows } = await db.query<ListRow>(listSql(query.groupBy), [
    query.userId,
    query.tokenId ?? null,
    query.start ?? null,
    query.end ?? null,
  ]);
  return rows.map((row) => ({
    day: row.shown_day,
    tokenId: row.token,
    keyName: row.key_name,
    model: row.shown_model,
    requests: row.requests,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    costMicros: row.cost_micros,
    estimatedTokens: row.estimated_tokens,
    unpricedRequests: row.unpriced_requests,
  }));
}
