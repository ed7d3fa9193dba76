import type { ServiceImpl } from "@connectrpc/connect";
import type { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import type { Idempotency } from "@turnwright/platform/postgres/idempotency";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import { uuidv7 } from "@turnwright/platform/uuid";
import { getDelivery, listDeliveries, redeliver, sendTest } from "../store/delivery-list.ts";
import {
  deleteWebhook,
  getWebhook,
  insertWebhook,
  listWebhooks,
  replaceWebhookSecret,
  updateWebhook,
} from "../store/webhooks.ts";
import { makerOf, type WebhookMakers } from "../webhooks/makers.ts";
import { messageBody } from "../webhooks/message.ts";
import { newSecret, secretText } from "../webhooks/signature.ts";
import type { WebhookWorker } from "../webhooks/worker.ts";

/** The most webhooks of a user. */
const maxWebhooks = 20;

/** Handlers of webhooks. Changes go to the audit log without the address, which may hold a secret. */
export function webhookHandlers(deps: {
  users: UserPool;
  outbound: Pick<Outbound, "check">;
  worker: Pick<WebhookWorker, "wake">;
  makers: Pick<WebhookMakers, "confirm">;
  idempotency: Idempotency;
}): ServiceImpl<typeof WebhookService> {
  const { users, outbound, worker, makers, idempotency } = deps;
  return {
    async createWebhook(request, ctx) {
      const { url, events, description } = request;
      const identity = requireIdentity(ctx);
      const { userId } = identity;
      const maker = makerOf(identity);
      outbound.check(url);
      checkDescription(description);
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) => users.transaction(userId, work),
        async act(tx) {
          const [id, secret] = [uuidv7(), newSecret()];
          const webhook = await insertWebhook(tx, { id, userId, maker, url, events, description, secret }, maxWebhooks);
          await appendAudit(tx, ctx, { action: "webhook.created", outcome: "success", subject: id, details: { events } });
          return { webhook, secret: secretText(secret) };
        },
      });
      await makers.confirm(userId, maker);
      return response;
    },
    async listWebhooks(_request, ctx) {
      const { userId } = requireIdentity(ctx);
      return { webhooks: await users.as(userId, (db) => listWebhooks(db, userId)) };
    },
    async getWebhook({ webhookId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return { webhook: await users.as(userId, (db) => getWebhook(db, { userId, webhookId })) };
    },
    async updateWebhook({ webhookId, ...change }, ctx) {
      const identity = requireIdentity(ctx);
      const { userId } = identity;
      const maker = makerOf(identity);
      if (change.url !== undefined) outbound.check(change.url);
      checkDescription(change.description);
      const webhook = await users.transaction(userId, async (tx) => {
        const updated = await updateWebhook(tx, { userId, webhookId }, { ...change, maker });
        const details = { enabled: updated.enabled, events: updated.events, redirected: change.url !== undefined };
        await appendAudit(tx, ctx, { action: "webhook.updated", outcome: "success", subject: webhookId, details });
        return updated;
      });
      await makers.confirm(userId, maker);
      worker.wake();
      return { webhook };
    },
    async deleteWebhook({ webhookId }, ctx) {
      const { userId } = requireIdentity(ctx);
      await users.transaction(userId, async (tx) => {
        await deleteWebhook(tx, { userId, webhookId });
        await appendAudit(tx, ctx, { action: "webhook.deleted", outcome: "success", subject: webhookId });
      });
      return {};
    },
    async rotateWebhookSecret(request, ctx) {
      const { webhookId } = request;
      const identity = requireIdentity(ctx);
      const { userId } = identity;
      const maker = makerOf(identity);
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) => users.transaction(userId, work),
        async act(tx) {
          const secret = newSecret();
          const webhook = await replaceWebhookSecret(tx, { userId, webhookId }, { secret, maker });
          await appendAudit(tx, ctx, { action: "webhook.rotated", outcome: "success", subject: webhookId });
          return { webhook, secret: secretText(secret) };
        },
      });
      await makers.confirm(userId, maker);
      return response;
    },
    async listWebhookDeliveries({ webhookId, status, limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, webhookId, status, after: decodeCursor(cursor), limit };
      const { deliveries, next } = await users.as(userId, (db) => listDeliveries(db, asked));
      return { deliveries, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getWebhookDelivery({ webhookId, deliveryId }, ctx) {
      const { userId } = requireIdentity(ctx);
      const found = await users.as(userId, (db) => getDelivery(db, { userId, webhookId, deliveryId }));
      const { delivery, createdAt, runError, responseBody } = found;
      return { delivery, requestBody: messageBody({ ...delivery, createdAt, runError }), responseBody };
    },
    async testWebhook({ webhookId }, ctx) {
      const { userId } = requireIdentity(ctx);
      const delivery = await users.transaction(userId, (tx) => sendTest(tx, { userId, webhookId }));
      worker.wake();
      return { delivery };
    },
    async redeliverWebhook({ webhookId, deliveryId }, ctx) {
      const { userId } = requireIdentity(ctx);
      const delivery = await users.transaction(userId, (tx) => redeliver(tx, { userId, webhookId, deliveryId }));
      worker.wake();
      return { delivery };
    },
  };
}

function checkDescription(description: string | undefined): void {
  if (description?.includes("\0")) {
    throw fail(ErrorReason.INVALID_REQUEST, "description: must not have NUL characters", { param: "description" });
  }
}
