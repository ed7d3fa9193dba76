import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import { startWebhookReceiver, type WebhookReceiver } from "@turnwright/testing/webhook-receiver";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type ConversationFixture,
  ErrorReason,
  type Person,
  reasonFor,
  startConversationFixture,
} from "../../testing/conversation.ts";

/** The usual schedule with short times. */
const pace = {
  pollMs: 50,
  wakeMs: 1,
  timeoutMs: 60_000,
  leaseMs: 120_000,
  restMs: 20,
  graceMs: 100,
  retries: { delaysMs: [600_000], random: () => 0.5 },
};
const ended = "The API key that it depended on has ended.";

let fixture: ConversationFixture;
let receiver: WebhookReceiver;
beforeAll(async () => {
  receiver = await startWebhookReceiver();
});
afterAll(() => receiver.close());
beforeEach(async () => {
  fixture = await startConversationFixture({ allowedHosts: [receiver.host], webhookPace: pace });
});
afterEach(async () => {
  receiver.answer((_message, response) => response.writeHead(204).end());
  await fixture.stop();
});

/** A valid key of a user. */
function keyOf(owner: Person, expiresAt: Date | null = null): Person {
  const identity = expiresAt === null ? {} : { expiresAt: timestampFromDate(expiresAt) };
  const key = fixture.through(owner, identity);
  fixture.keys.live.set(key.tokenId, expiresAt);
  return key;
}

const urlOf = () => `http://${receiver.host}/hook/${randomUUID()}`;

async function webhookOf(maker: Person) {
  const url = urlOf();
  const { webhook } = await maker.webhooks.createWebhook({ url });
  const webhookId = webhook?.id ?? "";
  return {
    webhookId,
    path: new URL(url).pathname,
    look: async (by: Person) => (await by.webhooks.getWebhook({ webhookId })).webhook,
    deliveries: async (by: Person) => (await by.webhooks.listWebhookDeliveries({ webhookId })).deliveries,
  };
}

const end = (key: Person) => {
  fixture.keys.live.delete(key.tokenId);
  fixture.keys.tellOf(key.tokenId);
};

const turn = async (person: Person) => person.answer(await person.begin());

describe("a webhook created with a key", () => {
  test("names it, and is disabled with a reason when the key ends", async () => {
    const owner = fixture.person();
    const [key, other] = [keyOf(owner), keyOf(owner)];
    const [theirs, others, mine] = [await webhookOf(key), await webhookOf(other), await webhookOf(owner)];
    expect(await theirs.look(owner)).toMatchObject({ apiKeyId: key.tokenId, enabled: true, disabledReason: "" });
    expect(await mine.look(owner)).toMatchObject({ apiKeyId: "", enabled: true });
    end(key);
    await expect.poll(() => theirs.look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
    for (const one of [others, mine]) expect(await one.look(owner)).toMatchObject({ enabled: true, disabledReason: "" });
    await turn(owner);
    await receiver.arrived(1, ({ path }) => path === mine.path);
    await receiver.arrived(1, ({ path }) => path === others.path);
    expect(await theirs.deliveries(owner)).toEqual([]);
  });

  test("continues when the key is rotated or changed, and ends at the key's new expiry", async () => {
    const owner = fixture.person();
    const key = keyOf(owner);
    const { look } = await webhookOf(key);
    const asked = fixture.keys.asked.length;
    fixture.keys.live.set(key.tokenId, new Date(Date.now() + 1_500));
    fixture.keys.tellOf(key.tokenId);
    await expect.poll(() => fixture.keys.asked.length).toBe(asked + 1);
    expect(await look(owner)).toMatchObject({ enabled: true });
    // An end from before the start is announced to nobody.
    await expect.poll(() => look(owner), { timeout: 10_000 }).toMatchObject({ enabled: false, disabledReason: ended });
  });

  test("sends nothing from the moment at which the key expires", async () => {
    const owner = fixture.person();
    const key = keyOf(owner, new Date(Date.now() + 3_600_000));
    const { webhookId, look, deliveries, path } = await webhookOf(key);
    await fixture.pool.query("update webhooks set api_key_expires_at = now() where id = $1", [webhookId]);
    await turn(owner);
    await expect.poll(() => look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
    expect(await deliveries(owner)).not.toContainEqual(expect.objectContaining({ status: "pending" }));
    expect(receiver.received.filter((message) => message.path === path)).toEqual([]);
  });

  test.each([
    ["is revoked", (key: Person) => end(key)],
    [
      "ends by itself",
      async (_key: Person, webhookId: string) => {
        await fixture.pool.query("update webhooks set api_key_expires_at = now() where id = $1", [webhookId]);
      },
    ],
  ])("stops deliveries in flight and pending attempts when the key %s", async (how, finish) => {
    const owner = fixture.person();
    const key = keyOf(owner, how === "is revoked" ? null : new Date(Date.now() + 1_500));
    const { webhookId, look, deliveries, path } = await webhookOf(key);
    const cut = Promise.withResolvers<void>();
    receiver.answer((_message, response) => response.once("close", () => cut.resolve()));
    await turn(owner);
    await turn(owner);
    await receiver.arrived(1, (message) => message.path === path);
    await finish(key, webhookId);
    await cut.promise;
    await expect.poll(() => look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
    await expect
      .poll(async () => (await deliveries(owner)).map(({ status, error }) => ({ status, error })))
      .toEqual([
        { status: "failed", error: ended },
        { status: "failed", error: ended },
      ]);
    expect(receiver.received.filter((message) => message.path === path)).toHaveLength(1);
  });

  test("is disabled after a start, when the key ended while the service was down", async () => {
    const owner = fixture.person();
    const key = keyOf(owner);
    const { webhookId } = await webhookOf(key);
    fixture.keys.live.delete(key.tokenId);
    await fixture.restart();
    const disabled = async () => {
      const { rows } = await fixture.pool.query("select enabled, disabled_reason from webhooks where id = $1", [webhookId]);
      return rows;
    };
    await expect.poll(disabled).toEqual([{ enabled: false, disabled_reason: ended }]);
  });

  test("is disabled although auth does not answer at first", async () => {
    const owner = fixture.person();
    const key = keyOf(owner);
    const { look } = await webhookOf(key);
    let failures = 2;
    fixture.keys.beforeAnswer = async () => {
      failures -= 1;
      if (failures >= 0) throw new Error("auth is away");
    };
    end(key);
    await expect.poll(() => look(owner), { timeout: 10_000 }).toMatchObject({ enabled: false });
    expect(failures).toBeLessThan(0);
  });

  test("does not outlive a key that ended during the request: nothing is left enabled", async () => {
    const owner = fixture.person();
    for (let round = 0; round < 20; round++) {
      const key = keyOf(owner);
      // Auth has revoked the key, and the revocation was announced before the webhook is committed.
      fixture.keys.live.delete(key.tokenId);
      expect(await reasonFor(key.webhooks.createWebhook({ url: urlOf() }))).toBe(ErrorReason.INVALID_TOKEN);
      const { webhooks } = await owner.webhooks.listWebhooks({});
      expect(webhooks.map(({ enabled, disabledReason }) => ({ enabled, disabledReason }))).toEqual([
        { enabled: false, disabledReason: ended },
      ]);
      await owner.webhooks.deleteWebhook({ webhookId: webhooks[0]?.id });
    }
  });

  test("is enabled again by a valid credential, on which it depends from then on", async () => {
    const owner = fixture.person();
    const [first, second] = [keyOf(owner), keyOf(owner)];
    const { webhookId, look } = await webhookOf(first);
    end(first);
    await expect.poll(() => look(owner)).toMatchObject({ enabled: false });
    expect(await reasonFor(first.webhooks.updateWebhook({ webhookId, enabled: true }))).toBe(ErrorReason.INVALID_TOKEN);
    expect(await look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
    const { webhook } = await second.webhooks.updateWebhook({ webhookId, enabled: true });
    expect(webhook).toMatchObject({ enabled: true, disabledReason: "", apiKeyId: second.tokenId });
    end(second);
    await expect.poll(() => look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
    await owner.webhooks.updateWebhook({ webhookId, enabled: true });
    expect(await look(owner)).toMatchObject({ enabled: true, apiKeyId: "" });
  });
});

describe("a webhook created by a login", () => {
  type Change = (key: Person, webhookId: string) => Promise<unknown>;
  const taking: [string, Change][] = [
    ["gives it another address", (key, webhookId) => key.webhooks.updateWebhook({ webhookId, url: urlOf() })],
    ["knows its new secret", (key, webhookId) => key.webhooks.rotateWebhookSecret({ webhookId })],
    [
      "enables it",
      async (key, webhookId) => {
        await key.webhooks.updateWebhook({ webhookId, enabled: false });
        await key.webhooks.updateWebhook({ webhookId, enabled: true });
      },
    ],
  ];
  test.each(taking)("depends on a key that %s", async (_what, change) => {
    const owner = fixture.person();
    const key = keyOf(owner);
    const { webhookId, look } = await webhookOf(owner);
    await change(key, webhookId);
    expect(await look(owner)).toMatchObject({ apiKeyId: key.tokenId, enabled: true });
    end(key);
    await expect.poll(() => look(owner)).toMatchObject({ enabled: false, disabledReason: ended });
  });

  test("does not depend on a key that changes its description, or enables it when enabled", async () => {
    const owner = fixture.person();
    const key = keyOf(owner);
    const { webhookId, look } = await webhookOf(owner);
    await key.webhooks.updateWebhook({ webhookId, enabled: true, description: "CI", events: ["run.failed"] });
    expect(await look(owner)).toMatchObject({ apiKeyId: "", description: "CI" });
  });
});

describe("a webhook of an account that is closed", () => {
  const closed = "The account is closed.";
  const close = (owner: Person) => {
    fixture.keys.closed.add(owner.userId);
    fixture.keys.tellOf(owner.userId);
  };

  test("is disabled, whoever made it, and sends nothing more; other accounts keep theirs", async () => {
    const [owner, other] = [fixture.person(), fixture.person()];
    const [byLogin, byKey, others] = [await webhookOf(owner), await webhookOf(keyOf(owner)), await webhookOf(other)];
    const cut = Promise.withResolvers<void>();
    receiver.answer((message, response) => {
      if (message.path === byLogin.path) response.once("close", () => cut.resolve());
      else response.writeHead(500).end();
    });
    await turn(owner);
    await turn(owner);
    await receiver.arrived(1, ({ path }) => path === byLogin.path);
    close(owner);
    await cut.promise;
    for (const one of [byLogin, byKey]) {
      await expect.poll(() => one.look(owner)).toMatchObject({ enabled: false, disabledReason: closed });
      await expect
        .poll(async () => (await one.deliveries(owner)).map(({ status, error }) => [status, error]))
        .toEqual(Array.from({ length: 2 }, () => ["failed", closed]));
    }
    const sent = receiver.received.length;
    await turn(owner);
    await turn(other);
    await receiver.arrived(1, ({ path }) => path === others.path);
    expect(receiver.received.slice(sent).map(({ path }) => path)).toEqual([others.path]);
    expect(await others.look(other)).toMatchObject({ enabled: true });
  });

  test("is disabled after a start, and cannot be made or enabled until the account is open again", async () => {
    const owner = fixture.person();
    const { webhookId, path } = await webhookOf(owner);
    fixture.keys.closed.add(owner.userId);
    await fixture.restart();
    const rows = async () =>
      (await fixture.pool.query("select enabled, disabled_reason from webhooks where id = $1", [webhookId])).rows;
    await expect.poll(rows).toEqual([{ enabled: false, disabled_reason: closed }]);
    // The same login, at the service that runs now: it was admitted before the account was closed.
    const same = fixture.through(owner, { tokenType: TokenType.ACCESS });
    expect(await reasonFor(same.webhooks.updateWebhook({ webhookId, enabled: true }))).toBe(ErrorReason.INVALID_TOKEN);
    expect(await reasonFor(same.webhooks.createWebhook({ url: urlOf() }))).toBe(ErrorReason.INVALID_TOKEN);
    const { webhooks } = await same.webhooks.listWebhooks({});
    expect(webhooks.map(({ enabled }) => enabled)).toEqual([false, false]);
    fixture.keys.closed.delete(owner.userId);
    await same.webhooks.updateWebhook({ webhookId, enabled: true });
    await turn(same);
    await receiver.arrived(1, (message) => message.path === path);
  });
});
