import { randomUUID } from "node:crypto";
import { detailOf } from "@turnwright/platform/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ConversationFixture,
  ErrorReason,
  type Person,
  reasonFor,
  startConversationFixture,
} from "../../testing/conversation.ts";
import { secretText } from "../webhooks/signature.ts";

let fixture: ConversationFixture;
beforeAll(async () => {
  // A worker that sends nothing.
  fixture = await startConversationFixture({ webhookPace: { concurrency: 0 } });
});
afterAll(() => fixture.stop());

/** A user with a webhook. */
async function subscriber() {
  const person = fixture.person();
  const { webhook, secret } = await person.webhooks.createWebhook({ url: "https://example.com/" });
  return { person, webhookId: webhook?.id ?? "", secret };
}
const turn = async (person: Person): Promise<void> => person.answer(await person.begin());

describe("a webhook", () => {
  test.each([
    "http://example.com/",
    "https://127.0.0.1/",
    "https://10.0.0.7/hook",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://2130706433/",
    "http://127.0.0.1:1/",
    "https://user:secret@example.com/",
    "ftp://example.com/",
    "hello",
    "",
    `https://example.com/${"x".repeat(2_000)}`,
  ])("to %s is refused, and the error names the field", async (url) => {
    const { person, webhookId } = await subscriber();
    const update = { webhookId, url };
    const calls = [person.webhooks.createWebhook({ url }), person.webhooks.updateWebhook(update)];
    for (const error of await Promise.all(calls.map((call) => call.catch((thrown: unknown) => thrown)))) {
      expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "url" });
    }
  });

  test("needs known events, and a description without NUL", async () => {
    const { webhooks } = fixture.person();
    const url = "https://example.com/";
    expect(await reasonFor(webhooks.createWebhook({ url, events: ["run.started"] }))).toBe(ErrorReason.INVALID_REQUEST);
    expect(await reasonFor(webhooks.createWebhook({ url, events: ["run.failed", "run.failed"] }))).toBe(
      ErrorReason.INVALID_REQUEST,
    );
    expect(await reasonFor(webhooks.createWebhook({ url, description: "a\0b" }))).toBe(ErrorReason.INVALID_REQUEST);
  });

  test("changes in the given fields only", async () => {
    const { webhooks } = fixture.person();
    const { webhook: made } = await webhooks.createWebhook({
      url: "https://example.com/a",
      events: ["run.failed"],
      description: "first",
    });
    const webhookId = made?.id ?? "";
    const { webhook } = await webhooks.updateWebhook({ webhookId, description: "second" });
    expect(webhook).toMatchObject({ url: "https://example.com/a", events: ["run.failed"], description: "second", enabled: true });
    const { webhook: moved } = await webhooks.updateWebhook({ webhookId, url: "https://example.com/b", enabled: false });
    expect(moved).toMatchObject({ url: "https://example.com/b", events: ["run.failed"], enabled: false });
  });

  test("is one of at most twenty of a user, no matter how many are created at once", async () => {
    const person = fixture.person();
    const url = "https://example.com/";
    const made = await Promise.all(Array.from({ length: 25 }, () => reasonFor(person.webhooks.createWebhook({ url }))));
    expect(made.filter((reason) => reason === undefined)).toHaveLength(20);
    expect(made.filter((reason) => reason === ErrorReason.CONFLICT)).toHaveLength(5);
    expect((await person.webhooks.listWebhooks({})).webhooks).toHaveLength(20);
    expect(await reasonFor(fixture.person().webhooks.createWebhook({ url }))).toBeUndefined();
  });

  test("gets a new secret, different from the previous one", async () => {
    const { person, webhookId, secret } = await subscriber();
    const rotated = await person.webhooks.rotateWebhookSecret({ webhookId });
    expect(rotated.secret).toMatch(/^whsec_/);
    expect(rotated.secret).not.toBe(secret);
    const { rows } = await fixture.pool.query<{ secret: Buffer; previous_secret: Buffer }>(
      "select secret, previous_secret from webhooks where id = $1",
      [webhookId],
    );
    expect([rows[0]?.secret, rows[0]?.previous_secret].map((bytes) => secretText(bytes ?? Buffer.of()))).toEqual([
      rotated.secret,
      secret,
    ]);
  });

  test("and its changes are in the audit log, without its address", async () => {
    const { webhooks } = fixture.person();
    const { webhook } = await webhooks.createWebhook({ url: "https://example.com/token-in-the-path" });
    const webhookId = webhook?.id ?? "";
    await webhooks.updateWebhook({ webhookId, url: "https://example.com/another-token" });
    await webhooks.rotateWebhookSecret({ webhookId });
    await webhooks.deleteWebhook({ webhookId });
    const { rows } = await fixture.pool.query<{ event: string }>(
      "select event from audit_log where event::json->>'subject' = $1 order by seq",
      [webhookId],
    );
    const actions = rows.map(({ event }) => JSON.parse(event).action);
    expect(actions).toEqual(["webhook.created", "webhook.updated", "webhook.rotated", "webhook.deleted"]);
    expect(JSON.stringify(rows)).not.toContain("token");
  });

  test("gets a test message, whatever its events, and at most ten at a time", async () => {
    const { person, webhookId } = await subscriber();
    await person.webhooks.updateWebhook({ webhookId, events: ["run.failed"] });
    const { delivery } = await person.webhooks.testWebhook({ webhookId });
    expect(delivery).toMatchObject({ event: "webhook.test", runId: "", conversationId: "", status: "pending" });
    const deliveryId = delivery?.id ?? "";
    const { requestBody, responseBody } = await person.webhooks.getWebhookDelivery({ webhookId, deliveryId });
    expect(JSON.parse(requestBody)).toMatchObject({ type: "webhook.test", data: { run_id: "", status: "test", error: "" } });
    expect(responseBody).toBe("");
    for (let more = 1; more < 10; more += 1) await person.webhooks.testWebhook({ webhookId });
    expect(await reasonFor(person.webhooks.testWebhook({ webhookId }))).toBe(ErrorReason.CONFLICT);
    await person.webhooks.updateWebhook({ webhookId, enabled: false });
    expect(await reasonFor(person.webhooks.testWebhook({ webhookId }))).toBe(ErrorReason.CONFLICT);
    const stranger = fixture.person();
    expect(await reasonFor(stranger.webhooks.testWebhook({ webhookId }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(stranger.webhooks.getWebhookDelivery({ webhookId, deliveryId }))).toBe(ErrorReason.NOT_FOUND);
  });

  test("of another user is not found", async () => {
    const { webhookId, person } = await subscriber();
    await turn(person);
    const [delivery] = (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries;
    const deliveryId = delivery?.id ?? "";
    const { webhooks } = fixture.person();
    const calls = [
      webhooks.getWebhook({ webhookId }),
      webhooks.updateWebhook({ webhookId, enabled: false }),
      webhooks.rotateWebhookSecret({ webhookId }),
      webhooks.listWebhookDeliveries({ webhookId }),
      webhooks.redeliverWebhook({ webhookId, deliveryId }),
      webhooks.deleteWebhook({ webhookId }),
    ];
    expect(await Promise.all(calls.map(reasonFor))).toEqual(calls.map(() => ErrorReason.NOT_FOUND));
    const error = await person.webhooks.redeliverWebhook({ webhookId, deliveryId: randomUUID() }).catch((thrown) => thrown);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.NOT_FOUND, param: "delivery_id" });
  });

  test("that is disabled gives up its pending deliveries and sends no more", async () => {
    const { person, webhookId } = await subscriber();
    await turn(person);
    await person.webhooks.updateWebhook({ webhookId, enabled: false });
    const [delivery] = (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries;
    expect(delivery).toMatchObject({ status: "failed", error: "The webhook was disabled." });
    expect(await reasonFor(person.webhooks.redeliverWebhook({ webhookId, deliveryId: delivery?.id }))).toBe(ErrorReason.CONFLICT);
  });

  test("has its deliveries listed newest first, page by page", async () => {
    const { person, webhookId } = await subscriber();
    for (let count = 0; count < 5; count += 1) await turn(person);
    const all = (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries.map(({ id }) => id);
    expect(all).toHaveLength(5);
    const seen: string[] = [];
    let cursor = "";
    do {
      const page = await person.webhooks.listWebhookDeliveries({ webhookId, limit: 2, cursor });
      seen.push(...page.deliveries.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(seen).toEqual(all);
    expect((await person.webhooks.listWebhookDeliveries({ webhookId, status: "failed" })).deliveries).toEqual([]);
  });
});
