import { type ReceivedMessage, startWebhookReceiver, type WebhookReceiver } from "@turnwright/testing/webhook-receiver";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import type { System } from "./system.ts";

let effects: EffectCounter;
let receiver: WebhookReceiver;
let system: System;
let token: string;
let accounts = 0;

beforeAll(async () => {
  effects = await startEffectCounter();
  receiver = await startWebhookReceiver();
  system = await startAllInOne({ TOOLS_ALLOWED_HOSTS: effects.host, WEBHOOK_ALLOWED_HOSTS: receiver.host });
});
afterAll(async () => {
  await system.stop();
  await receiver.close();
  await effects.close();
});
beforeEach(async () => {
  receiver.answer((_message, response) => response.writeHead(204).end());
  accounts += 1;
  const account = { email: `hooks-${accounts}@example.com`, password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "W" });
  token = (await call("POST", "/v1/auth/login", account)).body.data.access_token;
});

const call = jsonCaller(
  () => system.baseUrl,
  () => token,
);

/** Verifies a message with an independent implementation, as a receiver would. Throws if the signature is wrong. */
async function verify(message: ReceivedMessage | undefined, secret: string): Promise<void> {
  const client = new OpenAI({ apiKey: "none", webhookSecret: secret });
  await client.webhooks.verifySignature(message?.body ?? "", message?.headers ?? {});
}

async function subscribe(events: string[]) {
  const path = `/hook/${accounts}`;
  const { status, body } = await call("POST", "/v1/webhooks", { url: `http://${receiver.host}${path}`, events });
  expect(status).toBe(201);
  const { webhook, secret } = body.data;
  return {
    id: webhook.id as string,
    secret: secret as string,
    arrived: (count: number) => receiver.arrived(count, (message) => message.path === path),
    deliveries: async () => (await call("GET", `/v1/webhooks/${webhook.id}/deliveries`)).body.data.deliveries,
  };
}

describe("a webhook", () => {
  test("receives the end of a run, with a signature that its secret verifies", async () => {
    const { secret, arrived, deliveries } = await subscribe(["run.completed"]);
    const turn = await call("POST", "/v1/conversations", { message: "What is 1337 * 42?" });
    const [message] = await arrived(1);
    await verify(message, secret);
    await expect(verify(message && { ...message, body: `${message.body} ` }, secret)).rejects.toThrow("signature");
    await expect(verify(message, `whsec_${Buffer.alloc(32).toString("base64")}`)).rejects.toThrow("signature");
    expect(message?.json).toMatchObject({
      type: "run.completed",
      data: { conversation_id: turn.body.data.conversation_id, status: "completed" },
    });
    expect(message?.body).not.toContain("56154");
    await expect.poll(async () => (await deliveries())[0]?.status, { timeout: 5_000 }).toBe("delivered");
  });

  test("receives that a run waits for approval, and its end after the decision", async () => {
    const { secret, arrived } = await subscribe([]);
    const parked = await call("POST", "/v1/conversations", { message: `Send an HTTP request to ${effects.url} saying hello` });
    const conversationId = parked.body.data.conversation_id;
    const [waiting] = await arrived(1);
    await verify(waiting, secret);
    expect(waiting?.json).toMatchObject({ type: "run.waiting", data: { conversation_id: conversationId, status: "waiting" } });
    await call("POST", `/v1/conversations/${conversationId}/approve`, { approved: true });
    const [, completed] = await arrived(2);
    expect(completed?.json.type).toBe("run.completed");
    expect(completed?.json.data.run_id).toBe(waiting?.json.data.run_id);
  });

  test("that fails twice receives the event at the third attempt, under the same id", async () => {
    const { secret, arrived, deliveries } = await subscribe(["run.completed"]);
    let refusals = 2;
    receiver.answer((_message, response) => {
      refusals -= 1;
      if (refusals >= 0) response.writeHead(503, { "retry-after": "1" }).end();
      else response.writeHead(200).end("thanks");
    });
    await call("POST", "/v1/conversations", { message: "Hello" });
    const messages = await arrived(3);
    expect(new Set(messages.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    for (const message of messages) await verify(message, secret);
    await expect
      .poll(async () => (await deliveries())[0], { timeout: 5_000 })
      .toMatchObject({ id: messages[0]?.headers["webhook-id"], status: "delivered", attempts: 3, response_status: 200 });
  });

  test("cannot point to an internal host: addresses are refused at once, names on connecting", async () => {
    const port = receiver.host.split(":")[1];
    const refused = [
      "https://127.0.0.1/",
      "https://169.254.169.254/latest/",
      "https://[::1]/",
      "https://localhost/",
      "http://example.com/",
    ];
    for (const url of refused) {
      const { status, body } = await call("POST", "/v1/webhooks", { url });
      expect({ url, status, param: body.error?.param }).toEqual({ url, status: 400, param: "url" });
    }
    const before = receiver.received.length;
    const made = await call("POST", "/v1/webhooks", { url: `https://inside.example:${port}/` });
    expect(made.status).toBe(201);
    await call("POST", "/v1/conversations", { message: "Hello" });
    const path = `/v1/webhooks/${made.body.data.webhook.id}/deliveries`;
    await expect
      .poll(async () => (await call("GET", path)).body.data.deliveries[0], { timeout: 5_000 })
      .toMatchObject({ status: "pending", attempts: 1, error: expect.stringContaining("not a name of the public internet") });
    expect(receiver.received).toHaveLength(before);
  });
});

describe("the log", () => {
  test("contains neither URLs nor secrets of webhooks", () => {
    expect(system.log()).not.toMatch(/whsec_|\/hook\//);
  });
});
