import type { Queryable } from "@turnwright/platform/postgres";

/** Usage of one or more model calls. */
export interface Usage {
  readonly userId: string;
  readonly tokenId: string;
  readonly model: string;
  readonly requests: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly costMicros: number;
}

/**
 * Sets money of a key aside, in one statement: what many ask for at once never passes the ceiling. Gives what was granted, which may be less
 * than asked, 0 when nothing is left, or undefined when there is no such live key with a ceiling.
 */
export async function reserveSpend(
  db: Queryable,
  reservation: { id: string; userId: string; tokenId: string; amountMicros: number; ttlSeconds: number },
): Promise<number | undefined> {
  const { rows } = await db.query<{ granted: number }>({
    name: "reserve-spend",
    text: `with key as (
      select id, greatest(0, least($4::bigint, spend_limit_micros - spent_micros)) as granted
      from user_tokens
      where id = $2 and user_id = $3 and token_type = 'api_key' and not is_revoked and spend_limit_micros is not null
      for update
    ), charged as (
      update user_tokens t set spent_micros = spent_micros + key.granted from key where t.id = key.id and key.granted > 0
    ), kept as (
      insert into spend_reservations as r (id, token_id, amount_micros, expires_at)
      select $1, id, granted, now() + make_interval(secs => $5) from key where granted > 0
      on conflict (id) do update set amount_micros = r.amount_micros + excluded.amount_micros, expires_at = excluded.expires_at
    )
    select granted from key`,
    values: [reservation.id, reservation.tokenId, reservation.userId, reservation.amountMicros, reservation.ttlSeconds],
  });
  return rows[0]?.granted;
}

const recordUsageText = `insert into usage as u (user_id, token_id, day, model, requests, prompt_tokens, completion_tokens, cost_micros)
  select r.user_id, r.token_id, (now() at time zone 'UTC')::date, r.model, sum(r.requests), sum(r.prompt), sum(r.completion), sum(r.cost)
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    as r (user_id, token_id, model, requests, prompt, completion, cost)
  join users on users.id = r.user_id
  group by r.user_id, r.token_id, r.model
  order by r.user_id, r.token_id, r.model
  on conflict (user_id, day, token_id, model) do update set
    requests = u.requests + excluded.requests, prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = u.completion_tokens + excluded.completion_tokens, cost_micros = u.cost_micros + excluded.cost_micros`;

function columns(records: readonly Usage[]): unknown[] {
  return [
    records.map((record) => record.userId),
    records.map((record) => record.tokenId),
    records.map((record) => record.model),
    records.map((record) => record.requests),
    records.map((record) => record.promptTokens),
    records.map((record) => record.completionTokens),
    records.map((record) => record.costMicros),
  ];
}

/** Adds usage to the day's rows. */
export async function recordUsage(db: Queryable, records: readonly Usage[]): Promise<void> {
  await db.query({ name: "record-usage", text: recordUsageText, values: columns(records) });
}

/** Puts what was spent in the place of a reservation; false when it was settled before. To be run in a transaction with the usage. */
export async function settleReservation(
  db: Queryable,
  settlement: { id: string; tokenId: string; costMicros: number },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `with settled as (
       update spend_reservations set settled_at = now()
       where id = $1 and token_id = $2 and settled_at is null returning token_id, amount_micros
     )
     update user_tokens t set spent_micros = greatest(0, t.spent_micros - settled.amount_micros + $3::bigint)
     from settled where t.id = settled.token_id`,
    [settlement.id, settlement.tokenId, settlement.costMicros],
  );
  return rowCount === 1;
}

/** Reservations whose time is over count as spent: they stay in `spent_micros`. Those settled long since are forgotten. */
export async function lapseReservations(db: Queryable): Promise<void> {
  await db.query(
    `with lapsed as (update spend_reservations set settled_at = now() where settled_at is null and expires_at < now())
     delete from spend_reservations where settled_at < now() - interval '1 day'`,
  );
}

/** A row of usage. */
export interface UsageOfDay extends Omit<Usage, "userId"> {
  /** YYYY-MM-DD */
  readonly day: string;
}

/** A user's usage in a stretch of days, the newest first; of one token, if one is given. */
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
  }>(
    `select day::text as day, token_id, model, requests, prompt_tokens, completion_tokens, cost_micros from usage
     where user_id = $1 and ($2::uuid is null or token_id = $2)
       and day >= coalesce($3::date, (now() at time zone 'UTC')::date - 30) and day <= coalesce($4::date, (now() at time zone 'UTC')::date)
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
  }));
}
