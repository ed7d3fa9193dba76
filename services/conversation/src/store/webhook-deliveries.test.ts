import { randomBytes } from "node:crypto";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ConversationFixture, type Person, startConversationFixture } from "../../testing/conversation.ts";
import {
  type ClaimedDelivery,
  claimDeliveries,
  claimSql,
  pruneDeliveries,
  releaseDelivery,
  type Settlement,
  settleDelivery,
} from "./webhook-deliveries.ts";

let fixture: ConversationFixture;
beforeAll(async () => {
  // The service's own worker claims nothing: the tests act as workers.
  fixture = await startConversationFixture({ webhookPace: { concurrency: 0 } });
});
afterAll(() => fixture.stop());
beforeEach(() => fixture.pool.query("truncate webhooks, webhook_deliveries"));

const claim = (limit = 100, leaseMs = 30_000) => claimDeliveries(fixture.database.pool, { limit, leaseMs });
const settle = (delivery: ClaimedDelivery, outcome: Partial<Settlement>) =>
  settleDelivery(fixture.database.pool, delivery, {
    delivered: false,
    responseStatus: 0,
    responseBody: "",
    error: "",
    restMs: 0,
    disable: "",
    ...outcome,
  });
const delivered = { delivered: true, responseStatus: 204 };

const webhookOf = async (person: Person, events: string[] = []): Promise<string> =>
  (await person.webhooks.createWebhook({ url: "https://example.com/", events })).webhook?.id ?? "";
const listOf = async (person: Person, webhookId: string) =>
  (await person.webhooks.listWebhookDeliveries({ webhookId })).deliveries;

/** Due deliveries without runs. */
async function queue(person: Person, webhookId: string, count: number): Promise<void> {
  await fixture.pool.query(
    `insert into webhook_deliveries (webhook_id, user_id, run_id, conversation_id, event)
     select $1, $2, gen_random_uuid(), gen_random_uuid(), 'run.completed' from generate_series(1, $3)`,
    [webhookId, person.userId, count],
  );
}

/** Moves the times back by so many seconds. */
async function later(seconds: number): Promise<void> {
  await fixture.pool.query(
    "update webhooks set leased_until = leased_until - make_interval(secs => $1), resting_until = resting_until - " +
      "make_interval(secs => $1)",
    [seconds],
  );
  await fixture.pool.query(
    `update webhook_deliveries set next_attempt_at = next_attempt_at - make_interval(secs => $1),
       created_at = created_at - make_interval(secs => $1), ended_at = ended_at - make_interval(secs => $1)`,
    [seconds],
  );
}

describe("a run's change of status", () => {
  test("inserts one delivery for each enabled webhook of its owner that subscribes to the event", async () => {
    const [person, other] = [fixture.person(), fixture.person()];
    const [all, completed, failed, disabled] = [
      await webhookOf(person),
      await webhookOf(person, ["run.completed", "run.waiting"]),
      await webhookOf(person, ["run.failed"]),
      await webhookOf(person),
    ];
    await person.webhooks.updateWebhook({ webhookId: disabled, enabled: false });
    const foreign = await webhookOf(other);
    const context = await person.begin();
    expect(await listOf(person, all)).toEqual([]);
    await person.answer(context);
    expect(await listOf(person, all)).toMatchObject([
      {
        event: "run.completed",
        runId: context.run?.id,
        conversationId: context.conversation?.id,
        status: "pending",
        attempts: 0,
      },
    ]);
    expect(await listOf(person, completed)).toHaveLength(1);
    expect(await listOf(person, failed)).toEqual([]);
    expect(await listOf(person, disabled)).toEqual([]);
    expect(await listOf(other, foreign)).toEqual([]);
  });

  test("is reported for waiting, for a failure with its error, and for a cancel by deleting the conversation", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await person.park(await person.begin(), ["call_1"]);
    await person.commit(await person.begin(), { status: RunStatus.FAILED, error: "The model is gone." });
    await person.commit(await person.begin(), { status: RunStatus.NEEDS_REVIEW });
    const { conversation } = await person.begin();
    await person.conversations.deleteConversation({ conversationId: conversation?.id });
    const events = (await listOf(person, webhookId)).map(({ event }) => event);
    expect(events).toEqual(["run.cancelled", "run.needs_review", "run.failed", "run.waiting"]);
    const { rows } = await fixture.pool.query("select run_error from webhook_deliveries where run_error <> ''");
    expect(rows).toEqual([{ run_error: "The model is gone." }]);
  });

  test("that is rolled back is not reported", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    const context = await person.begin();
    const client = await fixture.pool.connect();
    await client.query("begin");
    await client.query("update runs set status = 'completed' where run_id = $1", [context.run?.id]);
    expect((await client.query("select 1 from webhook_deliveries")).rowCount).toBe(1);
    await client.query("rollback");
    client.release();
    expect(await listOf(person, webhookId)).toEqual([]);
  });

  test("does not wait for a webhook that is being deleted, and its orphaned delivery is never sent", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    const context = await person.begin();
    const client = await fixture.pool.connect();
    await client.query("begin");
    await client.query("delete from webhooks where id = $1", [webhookId]);
    await person.answer(context);
    await client.query("commit");
    client.release();
    expect((await fixture.pool.query("select 1 from webhook_deliveries")).rowCount).toBe(1);
    expect(await claim()).toEqual([]);
    await later(31 * 86_400);
    await pruneDeliveries(fixture.database.pool);
    expect((await fixture.pool.query("select 1 from webhook_deliveries")).rowCount).toBe(0);
  });
});

describe("a claim", () => {
  test("by concurrent workers returns each delivery once, one per webhook at a time", async () => {
    const people = Array.from({ length: 6 }, () => fixture.person());
    for (const person of people) await queue(person, await webhookOf(person), 5);
    const taken: ClaimedDelivery[] = [];
    for (let round = 0; round < 5; round += 1) {
      const claims = await Promise.all(Array.from({ length: 8 }, () => claim(3)));
      const now = claims.flat();
      expect(new Set(now.map(({ webhookId }) => webhookId)).size).toBe(now.length);
      expect(now).toHaveLength(6);
      expect(await claim()).toEqual([]);
      for (const one of now) await settle(one, delivered);
      taken.push(...now);
    }
    expect(new Set(taken.map(({ id }) => id)).size).toBe(30);
    expect(await claim()).toEqual([]);
  });

  test("whose worker died is repeated after its lease, under the same id", async () => {
    const person = fixture.person();
    await queue(person, await webhookOf(person), 1);
    const [dead] = await claim();
    await later(29);
    expect(await claim()).toEqual([]);
    await later(2);
    const [heir] = await claim();
    expect(heir).toMatchObject({ id: dead?.id, attempts: 2, epoch: 2 });
  });

  test("that ended late counts when it succeeded, and changes nothing when it failed", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await queue(person, webhookId, 1);
    const [late] = (await claim()) as [ClaimedDelivery];
    await later(31);
    const [heir] = (await claim()) as [ClaimedDelivery];
    await settle(late, { error: "No answer." });
    expect(await listOf(person, webhookId)).toMatchObject([{ status: "pending", error: "" }]);
    expect(await claim()).toEqual([]);
    await settle(late, delivered);
    expect(await listOf(person, webhookId)).toMatchObject([{ status: "delivered", responseStatus: 204 }]);
    await settle(heir, { error: "No answer." });
    expect(await listOf(person, webhookId)).toMatchObject([{ status: "delivered", error: "" }]);
  });

  test("that is released does not count and can be repeated at once", async () => {
    const person = fixture.person();
    await queue(person, await webhookOf(person), 1);
    const [first] = (await claim()) as [ClaimedDelivery];
    await releaseDelivery(fixture.database.pool, first);
    expect(await claim()).toMatchObject([{ id: first.id, attempts: 1 }]);
  });

  test("takes at most four webhooks of one user over all workers, so that others have their turn", async () => {
    const [greedy, modest] = [fixture.person(), fixture.person()];
    for (let count = 0; count < 6; count += 1) await queue(greedy, await webhookOf(greedy), 3);
    await queue(modest, await webhookOf(modest), 1);
    const claimed = [...(await claim(4)), ...(await claim(4)), ...(await claim(4))];
    const owners = await fixture.pool.query<{ id: string }>("select id from webhooks where user_id = $1", [modest.userId]);
    expect(claimed).toHaveLength(5);
    expect(claimed.filter(({ webhookId }) => webhookId === owners.rows[0]?.id)).toHaveLength(1);
  });

  test("returns both secrets for a day after a replacement", async () => {
    const person = fixture.person();
    const { webhook, secret: first } = await person.webhooks.createWebhook({ url: "https://example.com/" });
    await queue(person, webhook?.id ?? "", 1);
    const { secret: second } = await person.webhooks.rotateWebhookSecret({ webhookId: webhook?.id });
    const bytes = (text: string) => Buffer.from(text.replace("whsec_", ""), "base64");
    const [both] = (await claim()) as [ClaimedDelivery];
    expect(both.secrets).toEqual([bytes(second), bytes(first)]);
    await releaseDelivery(fixture.database.pool, both);
    await fixture.pool.query("update webhooks set previous_secret_until = previous_secret_until - interval '1 day'");
    expect((await claim())[0]?.secrets).toEqual([bytes(second)]);
  });

  test("costs no more when thousands of deliveries of one webhook wait", async () => {
    const [slow, quick] = [fixture.person(), fixture.person()];
    await queue(slow, await webhookOf(slow), 20_000);
    await queue(quick, await webhookOf(quick), 1);
    await fixture.pool.query("vacuum analyze webhook_deliveries");
    const { rows } = await fixture.database.pool.query(
      `explain (analyze, buffers, format json) ${claimSql.replace("$1", "16").replace("$2", "30000")}`,
    );
    const { Plan: plan } = rows[0]["QUERY PLAN"][0];
    expect(plan["Actual Rows"]).toBe(2);
    expect(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]).toBeLessThan(150);
  });
});

describe("the outcome of an attempt", () => {
  test("that failed leads to another in due time, and its webhook rests", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await queue(person, webhookId, 2);
    const [first] = (await claim()) as [ClaimedDelivery];
    await settle(first, { responseStatus: 503, error: "The receiver answered with 503.", retryMs: 30_000, restMs: 5_000 });
    expect(await claim()).toEqual([]);
    await later(6);
    const [second] = (await claim()) as [ClaimedDelivery];
    expect(second.id).not.toBe(first.id);
    await settle(second, delivered);
    expect(await claim()).toEqual([]);
    await later(25);
    expect(await claim()).toMatchObject([{ id: first.id, attempts: 2 }]);
  });

  test("that was the last fails the delivery; a redelivery starts over", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await queue(person, webhookId, 1);
    const [last] = (await claim()) as [ClaimedDelivery];
    await settle(last, { error: "No answer within 15 s.", restMs: 60_000 });
    const [failed] = await listOf(person, webhookId);
    expect(failed).toMatchObject({ status: "failed", attempts: 1, error: "No answer within 15 s." });
    expect([failed?.nextAttemptAt, failed?.endedAt === undefined]).toEqual([undefined, false]);
    const { delivery } = await person.webhooks.redeliverWebhook({ webhookId, deliveryId: last.id });
    expect(delivery).toMatchObject({ id: last.id, status: "pending", attempts: 0 });
    expect(await claim()).toMatchObject([{ id: last.id, attempts: 1 }]);
  });

  test("can be stored during a redelivery by the owner, without a deadlock", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await queue(person, webhookId, 1);
    const [{ id: deliveryId }] = (await claim()) as [ClaimedDelivery];
    const faults: unknown[] = [];
    for (let round = 0; round < 100; round += 1) {
      await later(60);
      const [delivery] = await claim();
      const outcome = round % 2 === 0 ? delivered : { error: "No answer.", retryMs: 0 };
      const storing = delivery === undefined ? [] : [settle(delivery, outcome)];
      const asking = Array.from({ length: 3 }, () => person.webhooks.redeliverWebhook({ webhookId, deliveryId }));
      const ended = await Promise.allSettled([...asking, ...storing, claim()]);
      faults.push(...ended.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : [])));
    }
    expect(faults).toEqual([]);
  });

  test("that the receiver is gone disables the webhook and gives up its pending deliveries", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    await queue(person, webhookId, 3);
    const [told] = (await claim()) as [ClaimedDelivery];
    await settle(told, { responseStatus: 410, error: "The receiver answered with 410.", disable: "gone" });
    expect((await listOf(person, webhookId)).map(({ status }) => status)).toEqual(["failed", "failed", "failed"]);
    const { webhook } = await person.webhooks.getWebhook({ webhookId });
    expect(webhook).toMatchObject({ enabled: false, disabledReason: "gone" });
    await person.answer(await person.begin());
    expect(await listOf(person, webhookId)).toHaveLength(3);
    const enabled = await person.webhooks.updateWebhook({ webhookId, enabled: true });
    expect(enabled.webhook).toMatchObject({ enabled: true, disabledReason: "" });
  });

  test("is deleted: a success after three days, a failure after thirty, a pending one never", async () => {
    const person = fixture.person();
    const webhookId = await webhookOf(person);
    const statuses = async () => (await listOf(person, webhookId)).map(({ status }) => status).sort();
    await queue(person, webhookId, 3);
    await settle((await claim())[0] as ClaimedDelivery, delivered);
    await settle((await claim())[0] as ClaimedDelivery, { error: "No answer." });
    for (const [days, left] of [
      [2, ["delivered", "failed", "pending"]],
      [2, ["failed", "pending"]],
      [25, ["failed", "pending"]],
      [2, ["pending"]],
    ] as const) {
      await later(days * 86_400);
      await pruneDeliveries(fixture.database.pool);
      expect(await statuses()).toEqual(left);
    }
  });
});

test("a secret has 24 to 64 bytes, enforced by the database", async () => {
  for (const length of [23, 65]) {
    const inserted = fixture.pool.query(
      "insert into webhooks (id, user_id, url, secret) values ($1, $1, 'https://example.com/', $2)",
      [uuidv7(), randomBytes(length)],
    );
    await expect(inserted).rejects.toThrow("webhooks_secret_check");
  }
});
