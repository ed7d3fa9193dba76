import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "./all-in-one.ts";
import type { System } from "./system.ts";

let model: ScriptedModel;
let system: System;
const admin = { email: "admin@example.com", password: "an-admins-password" };

beforeAll(async () => {
  model = await startScriptedModel({ models: ["priced"] });
  system = await startAllInOne({
    ADMIN_EMAIL: admin.email,
    ADMIN_PASSWORD: admin.password,
    LLM_BASE_URL: model.url,
    LLM_DEFAULT_MODEL: "priced",
    // One millionth of a dollar per input token, ten per output token.
    MODEL_PRICES: '{"priced":{"input":1,"output":10}}',
  });
});
afterAll(async () => {
  await system.stop();
  await model.close();
});

interface Answer {
  readonly status: number;
  readonly data: Record<string, unknown>;
  readonly error: { code: string } | undefined;
}

async function call(verb: string, path: string, bearer: string | undefined, body?: object): Promise<Answer> {
  const response = await fetch(system.baseUrl + path, {
    method: verb,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: response.status, ...((await response.json()) as Pick<Answer, "data" | "error">) };
}

const login = async (account: object) => (await call("POST", "/v1/auth/login", undefined, account)).data.access_token as string;

let people = 0;
async function person() {
  const account = { email: `person-${++people}@example.com`, password: "SecurePass123" };
  const { data } = await call("POST", "/v1/auth/register", undefined, { ...account, name: "P" });
  return { account, userId: (data.user as { id: string } | undefined)?.id ?? (data.id as string), token: await login(account) };
}

async function createKey(bearer: string, init: object = {}) {
  const { api_key: apiKey, key } = (await call("POST", "/v1/api-keys", bearer, { name: "k", ...init })).data;
  return { id: (apiKey as { id: string }).id, key: key as string };
}

/** A completion that costs 3,000 millionths of a dollar; its request reserves less. */
async function complete(bearer: string): Promise<Answer> {
  model.reply({ text: "Hello.", usage: { prompt_tokens: 2_400, completion_tokens: 60, total_tokens: 2_460 } });
  const body = { model: "priced", messages: [{ role: "user", content: "hi" }], max_tokens: 60 };
  return call("POST", "/v1/chat/completions", bearer, body);
}

describe("a spend ceiling", () => {
  test("of a key applies to all its descendants together, and the key shows their spending", async () => {
    const { token } = await person();
    const mother = await createKey(token, { spend_limit_usd: 0.006 });
    const children = await Promise.all([1, 2, 3].map(() => createKey(mother.key)));
    const { key: grandchild } = await createKey(children[0]?.key ?? "", { spend_limit_usd: 1 });
    const spent = async () => {
      const { api_keys: keys } = (await call("GET", "/v1/api-keys", token)).data;
      return (keys as { id: string; spent_usd: number }[]).find(({ id }) => id === mother.id)?.spent_usd;
    };
    expect((await complete(grandchild)).status).toBe(200);
    await expect.poll(spent).toBe(0.003);
    expect((await complete(children[1]?.key ?? "")).status).toBe(200);
    await expect.poll(spent).toBe(0.006);
    for (const key of [grandchild, mother.key, ...children.map((child) => child.key)]) {
      expect(await complete(key)).toMatchObject({ status: 429, error: { code: "INSUFFICIENT_QUOTA" } });
      // A run acts under the same ceilings.
      const run = await call("POST", "/v1/conversations", key, { message: "hi", model: "priced" });
      expect(run).toMatchObject({ status: 429, error: { code: "INSUFFICIENT_QUOTA" } });
    }
    expect(await spent()).toBe(0.006);
    const usage = (await call("GET", "/v1/usage", mother.key)).data;
    expect(usage.total).toMatchObject({ requests: 2, cost_usd: 0.006 });
    expect((await complete(token)).status).toBe(200);
  });

  test("of an account, set by an admin, applies to all its sessions and keys together", async () => {
    const { account, userId } = await person();
    const root = await login(admin);
    const limits = { spend_limit_usd: 0.006, max_concurrent: 50 };
    expect((await call("PATCH", `/v1/admin/users/${userId}`, root, { limits })).data.user).toMatchObject({ limits });
    const token = await login(account);
    const spent = async () =>
      ((await call("GET", `/v1/admin/users/${userId}`, root)).data.user as { spent_usd: number }).spent_usd;
    expect((await complete(token)).status).toBe(200);
    await expect.poll(spent).toBe(0.003);
    const { key } = await createKey(token);
    expect((await complete(key)).status).toBe(200);
    await expect.poll(spent).toBe(0.006);
    for (const bearer of [key, token, await login(account), (await createKey(token)).key]) {
      expect(await complete(bearer)).toMatchObject({ status: 429, error: { code: "INSUFFICIENT_QUOTA" } });
    }
  });
});
