import type { Queryable } from "@turnwright/platform/postgres/pool";

// A statement that locks several of these rows locks the account first, then the keys in the order of their ids.

/**
 * Reserves money under every ceiling of a token (its own, those of the keys from which it descends, its account's) in
 * one statement, so concurrent reservations never pass any of them. Returns the granted amount: possibly less than
 * asked, 0 when a ceiling is reached, undefined when the token has ended or has no ceiling.
 */
export async function reserveSpend(
  db: Queryable,
  reservation: {
    id: string;
    userId: string;
    tokenId: string;
    amountMicros: number;
    ttlSeconds: number;
    /** The ceiling of an account without one of its own; 0: none. */
    accountMicros: number;
  },
): Promise<number | undefined> {
  const { id, userId, tokenId, amountMicros, ttlSeconds, accountMicros } = reservation;
  const { rows } = await db.query<{ granted: number }>({
    name: "reserve-spend",
    text: `with recursive token as (
      select id, parent_id, token_type from user_tokens
      where user_id = $3 and not is_revoked
        and ((token_type = 'api_key' and id = $2) or (token_type = 'refresh' and family_id = $2))
    ), line as (
      select id, parent_id from token where token_type = 'api_key'
      union
      select p.id, p.parent_id from user_tokens p join line on p.id = line.parent_id where p.token_type = 'api_key'
    ), account as materialized (
      select id, coalesce(spend_limit_micros, $6::bigint) - spent_micros as room from users
      where id = $3 and coalesce(spend_limit_micros, $6::bigint) > 0 and exists (select from token)
      for no key update
    ), keys as materialized (
      select id, spend_limit_micros - spent_micros as room from user_tokens
      where id in (select id from line) and spend_limit_micros is not null and (select count(*) from account) >= 0
      order by id for no key update
    ), granted as materialized (
      select greatest(0, least($4::bigint, min(room))) as micros
      from (select room from keys union all select room from account) as ceilings having count(*) > 0
    ), charged_account as (
      update users u set spent_micros = u.spent_micros + granted.micros
      from account, granted where u.id = account.id and granted.micros > 0
    ), charged_keys as (
      update user_tokens t set spent_micros = t.spent_micros + granted.micros
      from keys, granted where t.id = keys.id and granted.micros > 0
    ), kept as (
      insert into spend_reservations as r (id, token_id, amount_micros, expires_at, charged_keys, charged_user)
      select $1, $2, micros, now() + make_interval(secs => $5), array(select id from keys), (select id from account)
      from granted where micros > 0
      on conflict (id) do update set amount_micros = r.amount_micros + excluded.amount_micros, expires_at = excluded.expires_at
    )
    select micros as granted from granted`,
    values: [id, tokenId, userId, amountMicros, ttlSeconds, accountMicros],
  });
  return rows[0]?.granted;
}

/**
 * Replaces a reservation by the actual cost, under every ceiling; false when it was settled before. Run it in one
 * transaction with the usage.
 */
export async function settleReservation(
  db: Queryable,
  settlement: { id: string; tokenId: string; costMicros: number },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "settle-reservation",
    text: `with found as (
       select charged_keys, charged_user from spend_reservations where id = $1 and token_id = $2 and settled_at is null
     ), account as materialized (
       select u.id from users u join found on u.id = found.charged_user for no key update of u
     ), keys as materialized (
       select t.id from user_tokens t join found on t.id = any(found.charged_keys)
       where (select count(*) from account) >= 0
       order by t.id for no key update of t
     ), settled as (
       update spend_reservations set settled_at = now()
       where id = $1 and token_id = $2 and settled_at is null and (select count(*) from keys) >= 0
       returning amount_micros - $3::bigint as unspent
     ), credited_account as (
       update users u set spent_micros = greatest(0, u.spent_micros - settled.unspent) from account, settled
         where u.id = account.id
     ), credited_keys as (
       update user_tokens t set spent_micros = greatest(0, t.spent_micros - settled.unspent) from keys, settled
         where t.id = keys.id
     )
     select from settled`,
    values: [settlement.id, settlement.tokenId, settlement.costMicros],
  });
  return rowCount === 1;
}

/** Counts expired reservations as spent: they stay in `spent_micros`. Deletes those settled over a day ago. */
export async function lapseReservations(db: Queryable): Promise<void> {
  await db.query(
    `with lapsed as (update spend_reservations set settled_at = now() where settled_at is null and expires_at < now())
     delete from spend_reservations where settled_at < now() - interval '1 day'`,
  );
}
