import { create } from "@bufbuild/protobuf";
import { type WebhookDelivery, WebhookDeliverySchema } from "@turnwright/contract/conversation/v1/webhook_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable, Tx } from "@turnwright/platform/postgres/pool";
import { toTimestamp } from "./rows.ts";
import { idOf, insertTest } from "./webhook-deliveries.ts";
import { type AskedWebhook, getWebhook, holdEnabled } from "./webhooks.ts";

interface DeliveryRow {
  readonly id: string;
  readonly webhook_id: string;
  readonly event: string;
  readonly run_id: string;
  readonly conversation_id: string;
  readonly status: string;
  readonly attempts: number;
  readonly response_status: number;
  readonly error: string;
  readonly created_at: Date;
  readonly next_attempt_at: Date;
  readonly ended_at: Date | null;
}

const deliveryColumns =
  "id, webhook_id, event, run_id, conversation_id, status, attempts, response_status, error, created_at, " +
  "next_attempt_at, ended_at";

function toDelivery(row: DeliveryRow): WebhookDelivery {
  return create(WebhookDeliverySchema, {
    id: row.id,
    webhookId: row.webhook_id,
    event: row.event,
    runId: idOf(row.run_id),
    conversationId: idOf(row.conversation_id),
    status: row.status,
    attempts: row.attempts,
    responseStatus: row.response_status,
    error: row.error,
    createdAt: toTimestamp(row.created_at),
    nextAttemptAt: row.status === "pending" ? toTimestamp(row.next_attempt_at) : undefined,
    endedAt: row.ended_at === null ? undefined : toTimestamp(row.ended_at),
  });
}

/**
 * A page of a webhook's deliveries, newest first. `next` is the start of the following page; unset on the last. Throws
 * NOT_FOUND.
 */
export async function listDeliveries(
  db: Queryable,
  asked: AskedWebhook & { status: string; after: KeysetPosition; limit: number },
): Promise<{ deliveries: WebhookDelivery[]; next?: KeysetPosition }> {
  await getWebhook(db, asked);
  const { rows } = await db.query<DeliveryRow & { created_us: number }>(
    `select ${deliveryColumns}, ${createdUsColumn}
     from webhook_deliveries
     where webhook_id = $1 and user_id = $2 and ($3 = '' or status = $3)
       and ${afterPosition("$4", "$5")}
     order by created_at desc, id desc
     limit $6`,
    // One row more than the page shows whether another page follows.
    [asked.webhookId, asked.userId, asked.status, asked.after.createdUs, asked.after.id, asked.limit + 1],
  );
  const { page, next } = keysetPage(rows, asked.limit, ({ id }) => id);
  return { deliveries: page.map(toDelivery), next };
}

const noSuchDelivery = () => fail(ErrorReason.NOT_FOUND, "There is no such delivery.", { param: "delivery_id" });

/** A delivery, the stored facts of its message, and the receiver's answer. Throws NOT_FOUND. */
export async function getDelivery(
  db: Queryable,
  asked: AskedWebhook & { deliveryId: string },
): Promise<{ delivery: WebhookDelivery; createdAt: Date; runError: string; responseBody: string }> {
  await getWebhook(db, asked);
  const { rows } = await db.query<DeliveryRow & { run_error: string; response_body: string }>(
    `select ${deliveryColumns}, run_error, response_body from webhook_deliveries
     where id = $1 and webhook_id = $2 and user_id = $3`,
    [asked.deliveryId, asked.webhookId, asked.userId],
  );
  const [row] = rows;
  if (row === undefined) throw noSuchDelivery();
  return { delivery: toDelivery(row), createdAt: row.created_at, runError: row.run_error, responseBody: row.response_body };
}

/** Adds a test message. Throws NOT_FOUND, and CONFLICT when the webhook is disabled or too many tests are pending. */
export async function sendTest(tx: Tx, asked: AskedWebhook): Promise<WebhookDelivery> {
  await holdEnabled(tx, asked);
  const id = await insertTest(tx, { id: asked.webhookId, userId: asked.userId });
  if (id === undefined) throw fail(ErrorReason.CONFLICT, "Ten tests of this webhook are pending; wait for them.");
  const { rows } = await tx.query<DeliveryRow>(`select ${deliveryColumns} from webhook_deliveries where id = $1`, [id]);
  return toDelivery(rows[0] as DeliveryRow);
}

/**
 * Makes a delivery due now, with its full number of attempts. Throws NOT_FOUND, and CONFLICT when the webhook is
 * disabled.
 */
export async function redeliver(tx: Tx, asked: AskedWebhook & { deliveryId: string }): Promise<WebhookDelivery> {
  await holdEnabled(tx, asked);
  const { rows } = await tx.query<DeliveryRow>(
    `update webhook_deliveries set status = 'pending', attempts = 0, next_attempt_at = now(), ended_at = null
     where id = $1 and webhook_id = $2 and user_id = $3
     returning ${deliveryColumns}`,
    [asked.deliveryId, asked.webhookId, asked.userId],
  );
  const [row] = rows;
  if (row === undefined) throw noSuchDelivery();
  return toDelivery(row);
}
