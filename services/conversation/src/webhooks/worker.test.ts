import { randomUUID } from "node:crypto";
import { toJsonString } from "@bufbuild/protobuf";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ListWebhooksResponseSchema } from "@turnwright/contract/conversation/v1/webhook_service";
import { createLogger } from "@turnwright/platform/logger";
import { createOutbound } from "@turnwright/platform/outbound/outbound";
import { createLoggedLines } from "@turnwright/testing/logged-lines";
import { startWebhookReceiver, type WebhookReceiver } from "@turnwright/testing/webhook-receiver";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  type ConversationFixture,
  ErrorReason,
  type Person,
  reasonFor,
  startConversationFixture,
} from "../../testing/conversation.ts";
import { signatureHeaders } from "./signature.ts";
import { startWebhookWorker, type WebhookPace } from "./worker.ts";

/** The usual schedule with short times. */
const pace = {
  pollMs: 50,
  wakeMs: 1,
  timeoutMs: 300,
  leaseMs: 2_000,
  restMs: 20,
  graceMs: 100,
  retries: { delaysMs: [20, 40, 60], random: () => 0.5 },
};

const log = createLoggedLines();
let fixture: ConversationFixture;
let receiver: WebhookReceiver;
beforeAll(async () => {
  receiver = await startWebhookReceiver();
  fixture = await startConversationFixture({ allowedHosts: [receiver.host, closed], webhookPace: pace, logger: log.logger });
});
afterAll(async () => {
  await fixture.stop();
  await receiver.close();
});
afterEach(() => receiver.answer((_message, response) => response.writeHead(204).end()));

/** An address where nothing listens. */
const closed = "127.0.0.1:9";

/** A user with a webhook at its own path. */
async function subscriber(events: string[] = []) {
  const person = fixture.person();
  const path = `/hook/${randomUUID()}`;
  const { webhook, secret } = await person.webhooks.createWebhook({ url: `http://${receiver.host}${path}`, events });
  const webhookId = webhook?.id ?? "";
  return {
    person,
    webhookId,
    secret,
    path,
    arrived: (count: number) => receiver.arrived(count, (message) => message.path === path),
    deliveries: async () => (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries,
    settled: (status: string) =>
      expect
        .poll(async () => (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries.map((one) => one.status), {
          timeout: 10_000,
        })
        .toEqual([status]),
  };
}
const turn = async (person: Person): Promise<void> => person.answer(await person.begin());

describe("a delivery", () => {
  test("reports a run's status by ids, signed with the secret that was shown once", async () => {
    const { person, secret, arrived, settled, deliveries } = await subscriber();
    const context = await person.begin({ message: "a secret of the conversation" });
    await person.answer(context, "an answer that nobody else shall read");
    const [message] = await arrived(1);
    await settled("delivered");
    const [delivery] = await deliveries();
    expect(message?.json).toEqual({
      type: "run.completed",
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      data: { run_id: context.run?.id, conversation_id: context.conversation?.id, status: "completed", error: "" },
    });
    expect(message?.headers).toMatchObject({ "content-type": "application/json", "webhook-id": delivery?.id });
    const sentAt = Number(message?.headers["webhook-timestamp"]) * 1_000;
    expect(Math.abs(Date.now() - sentAt)).toBeLessThan(10_000);
    const key = Buffer.from(secret.slice("whsec_".length), "base64");
    expect(message?.headers).toMatchObject(
      signatureHeaders([key], { id: delivery?.id ?? "", sentAt, body: message?.body ?? "" }),
    );
    expect(delivery).toMatchObject({ attempts: 1, responseStatus: 204, error: "", event: "run.completed" });
    const listed = toJsonString(ListWebhooksResponseSchema, await person.webhooks.listWebhooks({}));
    expect(listed).toContain(receiver.host);
    expect(listed).not.toContain(secret.slice("whsec_".length));
  });

  test("that fails is sent again under the same id until it succeeds", async () => {
    let refusals = 2;
    receiver.answer((_message, response) => {
      refusals -= 1;
      response.writeHead(refusals >= 0 ? 500 : 200).end("ok");
    });
    const { person, arrived, settled, deliveries } = await subscriber();
    await turn(person);
    const messages = await arrived(3);
    await settled("delivered");
    expect(new Set(messages.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(new Set(messages.map(({ body }) => body)).size).toBe(1);
    const [delivery] = await deliveries();
    expect(delivery).toMatchObject({ attempts: 3, responseStatus: 200 });
    const asked = { webhookId: delivery?.webhookId ?? "", deliveryId: delivery?.id ?? "" };
    const { requestBody, responseBody } = await person.webhooks.getWebhookDelivery(asked);
    expect([requestBody, responseBody]).toEqual([messages[0]?.body, "ok"]);
    expect((await person.webhooks.getWebhook(asked)).webhook?.lastFailureAt).toBeDefined();
  });

  test.each([
    ["a redirect", 302, "The receiver answered with 302."],
    ["a refusal", 404, "The receiver answered with 404."],
  ])("that gets %s every time is given up after the last attempt", async (_what, status, error) => {
    receiver.answer((_message, response) => response.writeHead(status, { location: `${receiver.url}/elsewhere` }).end());
    const { person, path, webhookId, settled, deliveries } = await subscriber();
    await turn(person);
    await settled("failed");
    const [delivery] = await deliveries();
    expect(delivery).toMatchObject({ attempts: 4, responseStatus: status, error });
    const facts = { level: "warn", msg: "webhook delivery failed", host: receiver.host, status, error };
    const ids = { delivery_id: delivery?.id, run_id: delivery?.runId };
    expect(log.lines.filter((line) => line.webhook_id === webhookId)).toMatchObject([
      { ...facts, ...ids, attempt: 1, given_up: false, retry_in_ms: expect.any(Number) },
      { ...facts, ...ids, attempt: 2, given_up: false },
      { ...facts, ...ids, attempt: 3, given_up: false },
      { ...facts, ...ids, attempt: 4, given_up: true },
    ]);
    expect(delivery?.nextAttemptAt).toBeUndefined();
    expect(receiver.received.filter((message) => message.path === path)).toHaveLength(4);
    expect(receiver.received.filter((message) => message.path.endsWith("/elsewhere"))).toEqual([]);
  });

  test("that gets no response in time fails, and delays no other", async () => {
    receiver.answer((message, response) => {
      if (message.json.type === "run.completed") response.writeHead(204).end();
    });
    const [slow, quick] = [await subscriber(["run.failed"]), await subscriber()];
    await slow.person.commit(await slow.person.begin(), { status: RunStatus.FAILED, error: "No." });
    await slow.arrived(1);
    await turn(quick.person);
    await quick.settled("delivered");
    await slow.settled("failed");
    expect((await slow.deliveries())[0]).toMatchObject({ responseStatus: 0, error: "No answer within 0.3 s.", attempts: 4 });
  });

  test("waits as long as the receiver asks", async () => {
    const { person, arrived, deliveries } = await subscriber();
    receiver.answer((_message, response) => response.writeHead(429, { "retry-after": "120" }).end());
    await turn(person);
    await arrived(1);
    await expect.poll(async () => (await deliveries())[0]?.responseStatus).toBe(429);
    const [delivery] = await deliveries();
    const inSeconds = Number(delivery?.nextAttemptAt?.seconds) - Date.now() / 1_000;
    expect(inSeconds).toBeGreaterThan(100);
    expect(inSeconds).toBeLessThan(121);
  });

  test("to a receiver that is gone disables the webhook", async () => {
    receiver.answer((_message, response) => response.writeHead(410).end());
    const { person, webhookId, settled } = await subscriber();
    await turn(person);
    await settled("failed");
    const { webhook } = await person.webhooks.getWebhook({ webhookId });
    expect(webhook).toMatchObject({ enabled: false, disabledReason: "The receiver answered with 410 (gone)." });
    const [delivery] = (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries;
    expect(await reasonFor(person.webhooks.redeliverWebhook({ webhookId, deliveryId: delivery?.id }))).toBe(ErrorReason.CONFLICT);
  });

  test("that nobody takes is logged with the code of its cause, without the address's path", async () => {
    const { person, webhookId, settled } = await subscriber();
    await fixture.pool.query("update webhooks set url = $2 where id = $1", [webhookId, `http://${closed}/secret-path`]);
    await turn(person);
    await settled("failed");
    const lines = log.lines.filter((line) => line.webhook_id === webhookId);
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatchObject({ level: "warn", host: closed, cause: "ECONNREFUSED", attempt: 1 });
    expect(JSON.stringify(lines)).not.toContain("secret-path");
  });

  test("can be redelivered by its owner, under the same id", async () => {
    const { person, webhookId, arrived, settled, deliveries } = await subscriber();
    await turn(person);
    await settled("delivered");
    const [delivery] = await deliveries();
    await person.webhooks.redeliverWebhook({ webhookId, deliveryId: delivery?.id });
    const [first, second] = await arrived(2);
    expect([first?.headers["webhook-id"], second?.headers["webhook-id"]]).toEqual([delivery?.id, delivery?.id]);
    await settled("delivered");
  });

  test("to a name that resolves to a private address is refused when sent, and never arrives", async () => {
    const person = fixture.person();
    const port = receiver.host.split(":")[1];
    const before = receiver.received.length;
    const { webhook } = await person.webhooks.createWebhook({ url: `http://${receiver.host}/hook` });
    // Such an address was allowed once; the API accepts it no longer.
    await fixture.pool.query("update webhooks set url = $2 where id = $1", [webhook?.id, `https://localhost:${port}/hook`]);
    await turn(person);
    const webhookId = webhook?.id ?? "";
    const first = async () => (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries[0];
    await expect.poll(async () => (await first())?.status).toBe("failed");
    expect(await first()).toMatchObject({ responseStatus: 0, error: expect.stringContaining("private networks") });
    expect(receiver.received).toHaveLength(before);
  });

  test("stops when its webhook is deleted, and is deleted with it", async () => {
    receiver.answer((_message, response) => response.writeHead(500, { "retry-after": "1" }).end());
    const { person, webhookId, arrived } = await subscriber();
    await turn(person);
    await arrived(1);
    await person.webhooks.deleteWebhook({ webhookId });
    expect(await reasonFor(person.webhooks.listWebhookDeliveries({ webhookId }))).toBe(ErrorReason.NOT_FOUND);
    const { rows } = await fixture.pool.query("select 1 from webhook_deliveries where webhook_id = $1", [webhookId]);
    expect(rows).toEqual([]);
    await turn(person);
    const left = await fixture.pool.query("select 1 from webhook_deliveries where webhook_id = $1", [webhookId]);
    expect(left.rows).toEqual([]);
  });
});

describe("workers", () => {
  const silent = createLogger({ service: "test", level: "silent" });
  const openWorker = (of = fixture, init: Partial<WebhookPace> = {}) =>
    startWebhookWorker({
      pool: of.database.pool,
      outbound: createOutbound({
        allowedHosts: [receiver.host],
        reasons: { refused: ErrorReason.INVALID_REQUEST, failed: ErrorReason.UNAVAILABLE },
      }),
      logger: silent,
      pace: { ...pace, ...init },
    });

  test("of several replicas send each delivery once", async () => {
    const subscribers = await Promise.all(Array.from({ length: 4 }, () => subscriber()));
    const others = [openWorker(), openWorker()];
    await Promise.all(subscribers.flatMap(({ person }) => Array.from({ length: 15 }, () => turn(person))));
    for (const { arrived } of subscribers) await arrived(15);
    for (const { deliveries } of subscribers) {
      await expect.poll(async () => (await deliveries()).every(({ status }) => status === "delivered")).toBe(true);
    }
    for (const other of others) await other.close();
    for (const { path, arrived } of subscribers) {
      const ids = (await arrived(15)).map(({ headers }) => headers["webhook-id"]);
      expect({ path, sent: ids.length, unique: new Set(ids).size }).toEqual({ path, sent: 15, unique: 15 });
    }
  });

  test("that are closed release deliveries that do not end in time, and another sends them under the same id", async () => {
    const own = await startConversationFixture({ allowedHosts: [receiver.host], webhookPace: { concurrency: 0 } });
    try {
      receiver.answer(() => {});
      const path = `/hook/${randomUUID()}`;
      const person = own.person();
      await person.webhooks.createWebhook({ url: `http://${receiver.host}${path}` });
      await turn(person);
      const first = openWorker(own, { timeoutMs: 30_000, leaseMs: 60_000 });
      await receiver.arrived(1, (message) => message.path === path);
      await first.close();
      const { rows } = await own.pool.query(
        "select status, attempts, leased_until <= now() as free from webhook_deliveries join webhooks w on w.id = webhook_id",
      );
      expect(rows).toEqual([{ status: "pending", attempts: 0, free: true }]);
      receiver.answer((_message, response) => response.writeHead(204).end());
      const second = openWorker(own);
      const [lost, taken] = await receiver.arrived(2, (message) => message.path === path);
      expect(taken?.headers["webhook-id"]).toBe(lost?.headers["webhook-id"]);
      await second.close();
      const after = await own.pool.query("select status, attempts from webhook_deliveries");
      expect(after.rows).toEqual([{ status: "delivered", attempts: 1 }]);
    } finally {
      await own.stop();
    }
  });
});

describe("a delivery that is broken", () => {
  test.each([
    ["cannot be made into a message", "update webhook_deliveries set created_at = 'infinity' where webhook_id = $1", 4],
    ["has an outcome that cannot be stored", "select $1::uuid", 1],
  ])("because it %s ends, and holds up no other", async (what, spoil, attempts) => {
    const gate = Promise.withResolvers<void>();
    const bad = await subscriber();
    const good = await subscriber();
    receiver.answer(async (message, response) => {
      if (message.path === bad.path) await gate.promise;
      response.writeHead(message.path === bad.path ? 500 : 204).end();
    });
    const refusing = what.startsWith("has");
    if (refusing) {
      await fixture.pool.query(`
        create function refuse_outcome() returns trigger language plpgsql as $$ begin
          if new.response_status = 500 then raise exception 'bad outcome' using errcode = '22021'; end if;
          return new;
        end $$;
        create trigger refuse_outcome before update on webhook_deliveries for each row execute function refuse_outcome()`);
    }
    try {
      await turn(bad.person);
      await bad.arrived(1);
      await fixture.pool.query(spoil, [bad.webhookId]);
      gate.resolve();
      await turn(good.person);
      await good.settled("delivered");
      const stored = "select status, attempts from webhook_deliveries where webhook_id = $1";
      await expect
        .poll(async () => (await fixture.pool.query(stored, [bad.webhookId])).rows, { timeout: 10_000 })
        .toEqual([{ status: "failed", attempts }]);
    } finally {
      if (refusing) await fixture.pool.query("drop trigger refuse_outcome on webhook_deliveries; drop function refuse_outcome");
    }
  });
});
