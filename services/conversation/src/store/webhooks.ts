import { create } from "@bufbuild/protobuf";
import { type Webhook, WebhookSchema } from "@turnwright/contract/conversation/v1/webhook_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable, Tx } from "@turnwright/platform/postgres/pool";
import { toTimestamp } from "./rows.ts";

interface WebhookRow {
  readonly id: string;
  readonly url: string;
  readonly events: string[];
  readonly description: string;
  readonly enabled: boolean;
  readonly disabled_reason: string;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly api_key_id: string | null;
  readonly last_failure_at: Date | null;
}

const webhookColumns =
  "id, url, events, description, enabled, disabled_reason, created_at, updated_at, api_key_id, last_failure_at";

/** The API key on which a webhook depends. */
export interface MakerKey {
  /** UUID. */
  readonly id: string;
  /** When it expires; null: never. */
  readonly expiresAt: Date | null;
}

function toWebhook(row: WebhookRow): Webhook {
  return create(WebhookSchema, {
    id: row.id,
    url: row.url,
    events: row.events,
    description: row.description,
    enabled: row.enabled,
    disabledReason: row.disabled_reason,
    createdAt: toTimestamp(row.created_at),
    updatedAt: toTimestamp(row.updated_at),
    apiKeyId: row.api_key_id ?? "",
    lastFailureAt: row.last_failure_at === null ? undefined : toTimestamp(row.last_failure_at),
  });
}

const noSuchWebhook = () => fail(ErrorReason.NOT_FOUND, "There is no such webhook.", { param: "webhook_id" });

function one(rows: readonly WebhookRow[]): Webhook {
  const [row] = rows;
  if (row === undefined) throw noSuchWebhook();
  return toWebhook(row);
}

/** Stores a webhook, in a transaction of its owner. Throws CONFLICT when the owner has `limit` webhooks. */
export async function insertWebhook(
  tx: Tx,
  webhook: {
    id: string;
    userId: string;
    /** Undefined: created by a login. */
    maker: MakerKey | undefined;
    url: string;
    events: readonly string[];
    description: string;
    secret: Uint8Array;
  },
  limit: number,
): Promise<Webhook> {
  // One at a time per user, so that the count is exact.
  await tx.query("select pg_advisory_xact_lock(hashtextextended('turnwright.webhooks', hashtext($1)))", [webhook.userId]);
  const { rows } = await tx.query<WebhookRow>(
    `insert into webhooks (id, user_id, url, events, description, secret, api_key_id, api_key_expires_at)
     select $1, $2, $3, $4::text[], $5, $6, $8, $9 where (select count(*) from webhooks where user_id = $2) < $7
     returning ${webhookColumns}`,
    [
      webhook.id,
      webhook.userId,
      webhook.url,
      webhook.events,
      webhook.description,
      webhook.secret,
      limit,
      webhook.maker?.id ?? null,
      webhook.maker?.expiresAt ?? null,
    ],
  );
  if (rows[0] === undefined) throw fail(ErrorReason.CONFLICT, `There are ${limit} webhooks already; delete one first.`);
  return toWebhook(rows[0]);
}

/** A user's webhooks, newest first. */
export async function listWebhooks(db: Queryable, userId: string): Promise<Webhook[]> {
  const { rows } = await db.query<WebhookRow>(
    `select ${webhookColumns} from webhooks where user_id = $1 order by created_at desc, id desc`,
    [userId],
  );
  return rows.map(toWebhook);
}

/** A webhook of a user. */
export interface AskedWebhook {
  readonly userId: string;
  readonly webhookId: string;
}

/** A webhook. Throws NOT_FOUND. */
export async function getWebhook(db: Queryable, { userId, webhookId }: AskedWebhook): Promise<Webhook> {
  const { rows } = await db.query<WebhookRow>(`select ${webhookColumns} from webhooks where id = $1 and user_id = $2`, [
    webhookId,
    userId,
  ]);
  return one(rows);
}

/**
 * Changes the given fields; `events` only when not empty. Disabling gives up pending deliveries. A new address, or
 * enabling, makes the webhook depend on the caller's key. Throws NOT_FOUND.
 */
export async function updateWebhook(
  tx: Tx,
  { userId, webhookId }: AskedWebhook,
  change: {
    url?: string;
    events: readonly string[];
    description?: string;
    enabled?: boolean;
    /** Undefined: changed by a login. */
    maker: MakerKey | undefined;
  },
): Promise<Webhook> {
  const isMadeAnew = "($3 <> url or ($6 and not enabled))";
  const { rows } = await tx.query<WebhookRow>(
    `update webhooks
     set api_key_id = case when ${isMadeAnew} then $7 else api_key_id end,
       api_key_expires_at = case when ${isMadeAnew} then $8 else api_key_expires_at end,
       url = coalesce($3, url), events = case when cardinality($4::text[]) = 0 then events else $4 end,
       description = coalesce($5, description), enabled = coalesce($6, enabled),
       disabled_reason = case when $6 is null then disabled_reason else '' end,
       resting_until = '-infinity', updated_at = now()
     where id = $1 and user_id = $2
     returning ${webhookColumns}`,
    [
      webhookId,
      userId,
      change.url ?? null,
      change.events,
      change.description ?? null,
      change.enabled ?? null,
      change.maker?.id ?? null,
      change.maker?.expiresAt ?? null,
    ],
  );
  const webhook = one(rows);
  if (!webhook.enabled) await tx.query(endPendingSql, [webhookId, "The webhook was disabled."]);
  return webhook;
}

/** Gives up a webhook's pending deliveries. */
const endPendingSql = `
update webhook_deliveries set status = 'failed', ended_at = now(), error = $2
where webhook_id = $1 and status = 'pending'`;

/** Deletes a webhook and its deliveries. Throws NOT_FOUND. */
export async function deleteWebhook(tx: Tx, { userId, webhookId }: AskedWebhook): Promise<void> {
  const { rowCount } = await tx.query("delete from webhooks where id = $1 and user_id = $2", [webhookId, userId]);
  if (rowCount === 0) throw noSuchWebhook();
  await tx.query("delete from webhook_deliveries where webhook_id = $1", [webhookId]);
}

/**
 * Replaces a webhook's secret; the previous one also signs for a day. From then on the webhook depends on the caller's
 * key. Throws NOT_FOUND.
 */
export async function replaceWebhookSecret(
  db: Queryable,
  { userId, webhookId }: AskedWebhook,
  { secret, maker }: { secret: Uint8Array; maker: MakerKey | undefined },
): Promise<Webhook> {
  const { rows } = await db.query<WebhookRow>(
    `update webhooks
     set previous_secret = secret, previous_secret_until = now() + interval '1 day', secret = $3, updated_at = now(),
       api_key_id = $4, api_key_expires_at = $5
     where id = $1 and user_id = $2
     returning ${webhookColumns}`,
    [webhookId, userId, secret, maker?.id ?? null, maker?.expiresAt ?? null],
  );
  return one(rows);
}

/**
 * Locks a webhook's row, first, as every statement that changes both tables does, and ends its rest. Throws NOT_FOUND,
 * and CONFLICT when the webhook is disabled.
 */
export async function holdEnabled(tx: Tx, { userId, webhookId }: AskedWebhook): Promise<void> {
  const { rows } = await tx.query<WebhookRow>(
    `update webhooks set resting_until = '-infinity' where id = $1 and user_id = $2 returning ${webhookColumns}`,
    [webhookId, userId],
  );
  if (one(rows).enabled) return;
  throw fail(ErrorReason.CONFLICT, "The webhook is disabled; enable it first.", { param: "webhook_id" });
}
