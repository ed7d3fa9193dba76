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
}

/** Sums stay at 2^53 - 1, the largest that is read back as a number: one more would make the account unreadable. */
const most = "9007199254740991";

const recordUsageText = `insert into usage as u
    (user_id, token_id, day, model, requests, prompt_tokens, completion_tokens, cost_micros, estimated_tokens)
  select r.user_id, r.token_id, (now() at time zone 'UTC')::date, r.model, least(${most}, sum(r.requests)),
    least(${most}, sum(r.prompt)), least(${most}, sum(r.completion)), least(${most}, sum(r.cost)),
      least(${most}, sum(r.estimated))
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
    as r (user_id, token_id, model, requests, prompt, completion, cost, estimated)
  join users on users.id = r.user_id
  group by r.user_id, r.token_id, r.model
  order by r.user_id, r.token_id, r.model
  on conflict (user_id, day, token_id, model) do update set
    requests = least(${most}, u.requests + excluded.requests),
    prompt_tokens = least(${most}, u.prompt_tokens + excluded.prompt_tokens),
    completion_tokens = least(${most}, u.completion_tokens + excluded.completion_tokens),
    cost_micros = least(${most}, u.cost_micros + excluded.cost_micros),
    estimated_tokens = least(${most}, u.estimated_tokens + excluded.estimated_tokens)`;

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
  ];
}

/** Adds usage to the rows of the current day (UTC). */
export async function recordUsage(db: Queryable, records: readonly Usage[]): Promise<void> {
  await db.query({ name: "record-usage", text: recordUsageText, values: columns(records) });
}

/** Usage of one token and model on one day. */
interface UsageOfDay extends Omit<Usage, "userId"> {
  /** YYYY-MM-DD */
  readonly day: string;
}

/** A user's usage in a range of days, newest first; of one token and its descendants, if one is given. */
export async function listUsage(
  db: Queryable,
  query: { userId: string; tokenId: string | undefined; start: string | undefined; end: string | undefined },
): Promise<UsageOfDay[]> {
  const { rows } = await db.query<{
    day: string;
    token_id: string;
    model: string;
    requests: number;
    prompt_tokens: number;
    completion_tokens: number;
    cost_micros: number;
    estimated_tokens: number;
  }>(
    `with recursive line as (
       select $2::uuid as id
       union
       select child.id from user_tokens child join line on child.parent_id = line.id
       where child.user_id = $1 and child.token_type = 'api_key'
     )
     select day::text as day, token_id, model, requests, prompt_tokens, completion_tokens, cost_micros, estimated_tokens
     from usage
     where user_id = $1 and ($2::uuid is null or token_id in (select id from line))
       and day >= coalesce($3::date, (now() at time zone 'UTC')::date - 30)
         and day <= coalesce($4::date, (now() at time zone 'UTC')::date)
     order by day desc, cost_micros desc, model, token_id limit 10000`,
    [query.userId, query.tokenId ?? null, query.start ?? null, query.end ?? null],
  );
  return rows.map((row) => ({
    day: row.day,
    tokenId: row.token_id,
    model: row.model,
    requests: row.requests,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    costMicros: row.cost_micros,
    estimatedTokens: row.estimated_tokens,
  }));
}
