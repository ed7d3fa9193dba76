import type { Tx } from "@turnwright/platform/postgres/pool";
import type pg from "pg";

/** A delivery that a worker may send until its lease ends, with all that it takes to send it. */
export interface ClaimedDelivery {
  /** UUID; the same for each attempt. */
  readonly id: string;
  readonly webhookId: string;
  /** Epoch of the claim; `settleDelivery` and `releaseDelivery` check it. */
  readonly epoch: number;
  readonly url: string;
  /** UUID of the webhook's owner. */
  readonly userId: string;
  /** UUID of the API key on which the webhook depends; undefined: none. */
  readonly apiKeyId?: string;
  /** Milliseconds until that key expires; undefined: never. */
  readonly keyEndsInMs?: number;
  /** The webhook's secret, and the previous one while it is valid. */
  readonly secrets: readonly Buffer[];
  /** `run.completed`, … */
  readonly event: string;
  readonly runId: string;
  readonly conversationId: string;
  /** Error of the run; empty: none. */
  readonly runError: string;
  /** Time of the event. */
  readonly createdAt: Date;
  /** This attempt's number, from 1. */
  readonly attempts: number;
}

/**
 * Webhooks of one user in flight at once, over all workers, so that one user's slow receivers leave room for others.
 */
const perUser = 4;

/**
 * `waiting` walks the index of pending deliveries from webhook to webhook, so its cost depends on the number of
 * webhooks with pending deliveries, not on the number of deliveries. The lease is on the webhook: one delivery of it at
 * a time. The conditions are repeated beside the lock, so that a transaction that waited for the row skips it if it has
 * been leased meanwhile. Exported for the test of its cost.
 */
export const claimSql = `
with recursive waiting as (
  (select webhook_id, next_attempt_at from webhook_deliveries where status = 'pending' order by webhook_id,
    next_attempt_at limit 1)
  union all
  select n.webhook_id, n.next_attempt_at
  from waiting cross join lateral (
    select d.webhook_id, d.next_attempt_at from webhook_deliveries d
    where d.status = 'pending' and d.webhook_id > waiting.webhook_id
    order by d.webhook_id, d.next_attempt_at limit 1
  ) n
), due as (
  select w.id, waiting.next_attempt_at, row_number() over (partition by w.user_id order by waiting.next_attempt_at, w.id)
    + (select count(*) from webhooks busy where busy.user_id = w.user_id and busy.leased_until > now()) as place
  from waiting join webhooks w on w.id = waiting.webhook_id
  where waiting.next_attempt_at <= now() and w.enabled and w.leased_until <= now() and w.resting_until <= now()
    and (w.api_key_expires_at is null or w.api_key_expires_at > now())
), locked as (
  select w.id from due join webhooks w on w.id = due.id
  where due.place <= ${perUser} and w.enabled and w.leased_until <= now() and w.resting_until <= now()
  order by due.next_attempt_at
  limit $1
  for no key update of w skip locked
), leased as (
  update webhooks w set epoch = w.epoch + 1, leased_until = now() + $2 * interval '1 millisecond'
  from locked where w.id = locked.id
  returning w.id, w.user_id, w.epoch, w.url, w.api_key_id, w.api_key_expires_at, w.secret,
    case when w.previous_secret_until > now() then w.previous_secret end as previous_secret
)
update webhook_deliveries d set attempts = d.attempts + 1
from leased
where d.status = 'pending' and d.id = (
  select p.id from webhook_deliveries p
  where p.webhook_id = leased.id and p.status = 'pending' and p.next_attempt_at <= now()
  order by p.next_attempt_at limit 1
)
returning d.id, d.webhook_id, d.event, d.run_id, d.conversation_id, d.run_error, d.created_at, d.attempts,
  leased.user_id, leased.epoch, leased.url, leased.secret, leased.previous_secret, leased.api_key_id,
  extract(epoch from leased.api_key_expires_at - now())::float8 * 1000 as key_ends_in_ms`;

/** Tests have no run and no conversation. */
const noId = "00000000-0000-0000-0000-000000000000";

/** An id of a run or conversation; empty for a test. */
export function idOf(stored: string): string {
  return stored === noId ? "" : stored;
}

const testEvent = "webhook.test";
/** The most pending tests of a webhook. */
const maxTests = 10;

/**
 * Adds a test to a webhook whose row the transaction has locked. Returns its id; undefined when ten tests are pending.
 */
export async function insertTest(tx: Tx, webhook: { id: string; userId: string }): Promise<string | undefined> {
  const { rows } = await tx.query<{ id: string }>(
    `insert into webhook_deliveries (webhook_id, user_id, run_id, conversation_id, event)
     select $1, $2, $3::uuid, $3::uuid, $4
     where (select count(*) from webhook_deliveries where webhook_id = $1 and status = 'pending' and event = $4) < $5
     returning id`,
    [webhook.id, webhook.userId, noId, testEvent, maxTests],
  );
  return rows[0]?.id;
}

interface ClaimedRow {
  readonly id: string;
  readonly webhook_id: string;
  readonly event: string;
  readonly run_id: string;
  readonly conversation_id: string;
  readonly run_error: string;
  readonly created_at: Date;
  readonly attempts: number;
  readonly epoch: number;
  readonly url: string;
  readonly user_id: string;
  readonly secret: Buffer;
  readonly previous_secret: Buffer | null;
  readonly api_key_id: string | null;
  readonly key_ends_in_ms: number | null;
}

/** Claims up to `limit` due deliveries, of as many webhooks, for `leaseMs` milliseconds of the database's clock. */
export async function claimDeliveries(pool: pg.Pool, claim: { limit: number; leaseMs: number }): Promise<ClaimedDelivery[]> {
  const { rows } = await pool.query<ClaimedRow>({
    name: "webhooks-claim",
    text: claimSql,
    values: [claim.limit, claim.leaseMs],
  });
  return rows.map((row) => ({
    id: row.id,
    webhookId: row.webhook_id,
    epoch: row.epoch,
    url: row.url,
    userId: row.user_id,
    apiKeyId: row.api_key_id ?? undefined,
    keyEndsInMs: row.key_ends_in_ms ?? undefined,
    secrets: row.previous_secret === null ? [row.secret] : [row.secret, row.previous_secret],
    event: row.event,
    runId: idOf(row.run_id),
    conversationId: idOf(row.conversation_id),
    runError: row.run_error,
    createdAt: row.created_at,
    attempts: row.attempts,
  }));
}

/** The outcome of an attempt. */
export interface Settlement {
  readonly delivered: boolean;
  /** HTTP status of the response; 0: none. */
  readonly responseStatus: number;
  /** The beginning of the response's body. */
  readonly responseBody: string;
  readonly error: string;
  /** Milliseconds until the next attempt; undefined: no further attempt. */
  readonly retryMs?: number;
  /** Milliseconds without deliveries to the webhook. */
  readonly restMs: number;
  /** Why the webhook is disabled from now on; empty: it stays enabled. */
  readonly disable: string;
}

// A late success counts, because the receiver has the message. A late failure does not: another worker is trying by
// now. The webhook's row is locked first, as in every statement that changes both tables; the count forces that order.
const settleSql = `
with released as (
  update webhooks
  set leased_until = now(), resting_until = now() + $6 * interval '1 millisecond',
    enabled = enabled and $7 = '', disabled_reason = case when $7 = '' then disabled_reason else $7 end,
    updated_at = case when $7 = '' then updated_at else now() end,
    last_failure_at = case when $8 then last_failure_at else now() end
  where id = $1 and epoch = $2
  returning id
), dropped as (
  update webhook_deliveries d set status = 'failed', ended_at = now(), error = $7
  from released
  where $7 <> '' and d.webhook_id = released.id and d.status = 'pending' and d.id <> $3
)
update webhook_deliveries d
set response_status = $4, error = $5, response_body = $10,
  status = case when $8 then 'delivered' when $9::float8 is null then 'failed' else 'pending' end,
  ended_at = case when $8 or $9 is null then now() end,
  next_attempt_at = case when $8 or $9 is null then next_attempt_at else now() + $9 * interval '1 millisecond' end
from (select count(*) as count from released) held
where d.id = $3 and d.status = 'pending' and ($8 or held.count > 0)`;

/** Stores the outcome of an attempt and releases the webhook. */
export async function settleDelivery(pool: pg.Pool, delivery: ClaimedDelivery, outcome: Settlement): Promise<void> {
  await pool.query({
    name: "webhooks-settle",
    text: settleSql,
    values: [
      delivery.webhookId,
      delivery.epoch,
      delivery.id,
      outcome.responseStatus,
      outcome.error,
      outcome.restMs,
      outcome.disable,
      outcome.delivered,
      outcome.retryMs ?? null,
      outcome.responseBody,
    ],
  });
}

const releaseSql = `
with released as (
  update webhooks set leased_until = now() where id = $1 and epoch = $2 returning id
)
update webhook_deliveries set attempts = attempts - 1
where id = $3 and status = 'pending' and attempts > 0 and exists (select from released)`;

/** Undoes a claim, so that another worker sends the delivery at once. */
export async function releaseDelivery(pool: pg.Pool, delivery: ClaimedDelivery): Promise<void> {
  await pool.query({
    name: "webhooks-release",
    text: releaseSql,
    values: [delivery.webhookId, delivery.epoch, delivery.id],
  });
}

// Bounded, so that it blocks no other statement; later runs delete the rest. The second part finds deliveries of
// deleted webhooks.
const pruneSql = `
with old as (
  select id from webhook_deliveries
  where status <> 'pending' and ended_at < now() - interval '3 days'
    and (status = 'delivered' or ended_at < now() - interval '30 days')
  limit 5000
  for update skip locked
), left_behind as (
  select d.id from webhook_deliveries d
  where d.status = 'pending' and d.created_at < now() - interval '30 days'
    and not exists (select from webhooks w where w.id = d.webhook_id and w.enabled)
  limit 5000
  for update skip locked
)
delete from webhook_deliveries where id in (select id from old union all select id from left_behind)`;

/** Deletes deliveries that succeeded three days ago or failed thirty days ago. */
export async function pruneDeliveries(pool: pg.Pool): Promise<void> {
  await pool.query(pruneSql);
}
