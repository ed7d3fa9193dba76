import { randomUUID } from "node:crypto";
import type { WebhookReceiver } from "@turnwright/testing/webhook-receiver";
import { beforeAll, expect, test } from "vitest";
import { send } from "./requests.ts";
import type { Account, Stage } from "./stage.ts";
import { raceWebhooks } from "./webhook-races.ts";

const reason = "The API key that it depended on has ended.";
/** The bound for everything that ends with its credential. */
const boundMs = 5_000;

interface Key {
  readonly id: string;
  readonly key: string;
}

interface Webhook {
  readonly id: string;
  readonly enabled: boolean;
  readonly disabled_reason: string;
  readonly api_key_id: string;
}

/** The tests of one shape: a webhook ends with the key on which it depends. */
export function testWebhooksOfEndedKeys(shape: string, given: () => { stage: Stage; receiver: WebhookReceiver }): void {
  let stage: Stage;
  let receiver: WebhookReceiver;
  beforeAll(() => {
    ({ stage, receiver } = given());
  });

  const keyOf = async (maker: string, init: object = {}): Promise<Key> => {
    const made = await stage.call<{ api_key: { id: string }; key: string }>("POST", "/v1/api-keys", maker, {
      name: "k",
      ...init,
    });
    return { id: made.api_key.id, key: made.key };
  };
  const webhookOf = async (maker: string): Promise<Webhook & { path: string }> => {
    const path = `/hook/${randomUUID()}`;
    const url = `http://${receiver.host}${path}`;
    const made = await stage.call<{ webhook: Webhook }>("POST", "/v1/webhooks", maker, { url });
    return { ...made.webhook, path };
  };
  const webhookNow = async ({ accessToken }: Account, id: string) =>
    (await stage.call<{ webhook: Webhook }>("GET", `/v1/webhooks/${id}`, accessToken)).webhook;
  const turn = ({ accessToken }: Account) => stage.call("POST", "/v1/conversations", accessToken, { message: "What is 6 * 7?" });

  /** The ways in which a key ends; `first` created `second`. */
  const ends: Readonly<Record<string, (owner: Account, keys: { first: Key; second: Key }) => Promise<unknown>>> = {
    "its owner revokes it": ({ accessToken }, { second }) => stage.call("DELETE", `/v1/api-keys/${second.id}`, accessToken),
    "its owner revokes the key that made it": ({ accessToken }, { first }) =>
      stage.call("DELETE", `/v1/api-keys/${first.id}`, accessToken),
    "it revokes itself": (_owner, { second }) => stage.call("DELETE", `/v1/api-keys/${second.id}`, second.key),
    "a statement revokes it": (_owner, { second }) =>
      stage.database.query("update auth.user_tokens set is_revoked = true where id = $1", [second.id]),
    "a statement revokes the key that made it": (_owner, { first }) =>
      stage.database.query("update auth.user_tokens set is_revoked = true where id = $1", [first.id]),
    "a statement deletes it": (_owner, { second }) =>
      stage.database.query("delete from auth.user_tokens where id = $1", [second.id]),
    "a statement deletes the key that made it": (_owner, { first }) =>
      stage.database.query("delete from auth.user_tokens where id = $1", [first.id]),
    "a statement ends the time of the key that made it": (_owner, { first }) =>
      stage.database.query("update auth.user_tokens set expires_at = now() where id = $1", [first.id]),
    "its time is over": (_owner, { second }) =>
      stage.database.query("update auth.user_tokens set expires_at = now() + interval '1 second' where id = $1", [second.id]),
    "all that its account has is revoked": ({ userId }) =>
      stage.call("POST", `/v1/admin/users/${userId}/revoke`, stage.admin.accessToken, {}),
    "its account is closed": async ({ userId }) => {
      await stage.call("PATCH", `/v1/admin/users/${userId}`, stage.admin.accessToken, { is_active: false });
      await stage.call("PATCH", `/v1/admin/users/${userId}`, stage.admin.accessToken, { is_active: true });
    },
  };

  test.each(Object.entries(ends))("a webhook stops when %s, and records the reason", async (how, end) => {
    const account = await stage.account();
    const first = await keyOf(account.accessToken);
    const second = await keyOf(first.key);
    const [theirs, mine] = [await webhookOf(second.key), await webhookOf(account.accessToken)];
    expect(theirs).toMatchObject({ api_key_id: second.id, enabled: true });
    const endedAt = performance.now();
    await end(account, { first, second });
    const owner = how.includes("account") ? await stage.login(account) : account;
    await expect
      .poll(() => webhookNow(owner, theirs.id), { timeout: boundMs, interval: 25 })
      .toMatchObject({ enabled: false, disabled_reason: reason });
    const ms = Math.round(performance.now() - endedAt);
    await turn(owner);
    await receiver.arrived(1, ({ path }) => path === mine.path);
    expect(receiver.received.filter(({ path }) => path === theirs.path)).toEqual([]);
    expect(await webhookNow(owner, mine.id)).toMatchObject({ enabled: true, api_key_id: "" });
    const enable = { method: "PATCH", path: `/v1/webhooks/${theirs.id}`, body: '{"enabled":true}' };
    const refused = await send(stage.baseUrl, { ...enable, headers: { authorization: `Bearer ${second.key}` } });
    expect(refused.status).toBe(401);
    console.log(`${shape}, ${how}: its webhook was disabled after ${ms} ms`);
  });

  test("a webhook continues when its key gets another secret", async () => {
    const owner = await stage.account();
    const { id, key } = await keyOf(owner.accessToken);
    const { id: webhookId, path } = await webhookOf(key);
    await stage.call("POST", `/v1/api-keys/${id}/rotate`, owner.accessToken, {});
    const { rows } = await stage.database.query("select 1 from auth.revocations where token_id = $1", [id]);
    expect(rows).not.toEqual([]);
    await turn(owner);
    await receiver.arrived(1, (message) => message.path === path);
    expect(await webhookNow(owner, webhookId)).toMatchObject({ enabled: true, api_key_id: id });
  });

  test("keys revoked while creating webhooks leave none enabled", async () => {
    const { made, left } = await raceWebhooks(stage.baseUrl, { rounds: 5, url: `http://${receiver.host}/hook`, boundMs });
    expect(left).toBe(0);
    expect(made).toBeGreaterThan(0);
  }, 60_000);
}
