import type pg from "pg";
import type { MakerKey } from "./webhooks.ts";

/** The `disabled_reason` of a webhook whose key has ended. */
const keyHasEnded = "The API key that it depended on has ended.";
/** The `disabled_reason` of a webhook whose owner has no account any more. */
const accountIsClosed = "The account is closed.";

// Locks the webhooks' rows first and in one order, as every statement that changes both tables does.
const disableSql = (ended: string) => `
with held as (
  select id from webhooks where enabled and ${ended} order by id for no key update
), disabled as (
  update webhooks w set enabled = false, disabled_reason = $1, updated_at = now()
  from held where w.id = held.id and w.enabled
  returning w.id
), dropped as (
  update webhook_deliveries d set status = 'failed', ended_at = now(), error = $1
  from disabled where d.webhook_id = disabled.id and d.status = 'pending'
)`;

const endSql = `${disableSql("api_key_id = any ($2::uuid[])")} select id from disabled`;

/** Disables the webhooks that depend on ended keys and gives up their pending deliveries. Returns the webhooks' ids. */
export async function endWebhooksOf(pool: pg.Pool, apiKeyIds: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>({
    name: "webhooks-end",
    text: endSql,
    values: [keyHasEnded, apiKeyIds],
  });
  return rows.map(({ id }) => id);
}

const closeSql = `${disableSql("user_id = any ($2::uuid[])")} select id from disabled`;

/** Disables all webhooks of closed accounts and gives up their pending deliveries. Returns the webhooks' ids. */
export async function endWebhooksOfAccounts(pool: pg.Pool, userIds: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>({
    name: "webhooks-close",
    text: closeSql,
    values: [accountIsClosed, userIds],
  });
  return rows.map(({ id }) => id);
}

const lookSql = `${disableSql("api_key_expires_at <= now()")}
select exists (select from webhooks where enabled) as any`;

/** Disables the webhooks whose keys have expired. Returns whether any enabled webhook is left. */
export async function endOverdueWebhooks(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ any: boolean }>({ name: "webhooks-overdue", text: lookSql, values: [keyHasEnded] });
  return rows[0]?.any ?? false;
}

/** The keys, all or of a given set, on which enabled webhooks depend. */
export async function listMakers(pool: pg.Pool, apiKeyIds?: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ api_key_id: string }>({
    name: "webhooks-makers",
    text: `select distinct api_key_id from webhooks
      where enabled and api_key_id is not null and ($1::uuid[] is null or api_key_id = any ($1)) order by api_key_id`,
    values: [apiKeyIds ?? null],
  });
  return rows.map((row) => row.api_key_id);
}

/** The users, all or of a given set, who have enabled webhooks. */
export async function listOwners(pool: pg.Pool, userIds?: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ user_id: string }>({
    name: "webhooks-owners",
    text: `select distinct user_id from webhooks
      where enabled and ($1::uuid[] is null or user_id = any ($1)) order by user_id`,
    values: [userIds ?? null],
  });
  return rows.map((row) => row.user_id);
}

/** Stores the expiry of keys where it has changed. */
export async function storeExpiry(pool: pg.Pool, keys: readonly MakerKey[]): Promise<void> {
  await pool.query({
    name: "webhooks-expiry",
    text: `update webhooks w set api_key_expires_at = k.expires_at
      from unnest($1::uuid[], $2::timestamptz[]) as k (id, expires_at)
      where w.api_key_id = k.id and w.enabled and w.api_key_expires_at is distinct from k.expires_at`,
    values: [keys.map(({ id }) => id), keys.map(({ expiresAt }) => expiresAt)],
  });
}
