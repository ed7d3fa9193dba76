import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "./all-in-one.ts";
import type { System } from "./system.ts";

let model: ScriptedModel;
let system: System;
let token: string;

beforeAll(async () => {
  model = await startScriptedModel({ models: ["priced", "free"] });
  system = await startAllInOne({
    LLM_BASE_URL: model.url,
    LLM_DEFAULT_MODEL: "priced",
    // One millionth of a dollar per input token, ten per output token.
    MODEL_PRICES: '{"priced":{"input":1,"output":10}}',
  });
  const account = { email: "spender@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", undefined, { ...account, name: "S" });
  token = (await call("POST", "/v1/auth/login", undefined, account)).access_token as string;
});
afterAll(async () => {
  await system.stop();
  await model.close();
});

async function call(verb: string, path: string, bearer: string | undefined, body?: object) {
  const response = await fetch(system.baseUrl + path, {
    method: verb,
    headers: {
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return ((await response.json()) as { data: Record<string, unknown> }).data;
}

async function keyWith(dollars: number) {
  const { api_key: apiKey, key } = await call("POST", "/v1/api-keys", token, { name: "k", spend_limit_usd: dollars });
  const { id } = apiKey as { id: string };
  const openai = new OpenAI({ baseURL: `${system.baseUrl}/v1`, apiKey: key as string, maxRetries: 0 });
  const spent = async () => {
    const { api_keys: keys } = await call("GET", "/v1/api-keys", token);
    return (keys as { id: string; spent_usd: number }[]).find((one) => one.id === id)?.spent_usd;
  };
  return { id, openai, spent };
}

const messages = [{ role: "user" as const, content: "hi" }];

describe("a key with a spend ceiling, used by the OpenAI client", () => {
  test("is charged for its usage, and refused when nothing is left", async () => {
    const { openai, spent } = await keyWith(0.005);
    model.reply({ text: "Hello.", usage: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 } });
    await openai.chat.completions.create({ model: "priced", messages, max_tokens: 60 });
    await expect.poll(spent).toBe(0.0006);
    // A single piece beyond the ceiling would not be passed on at all, so the model pauses until some text has arrived.
    const someArrived = Promise.withResolvers<void>();
    model.reply({ text: "word ".repeat(2_000), pauseAfter: { pieces: 50, gate: someArrived.promise } });
    const stream = await openai.chat.completions.create({ model: "priced", messages, stream: true });
    let text = "";
    const failure = await (async () => {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        if (text.length > 100) someArrived.resolve();
      }
    })().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "INSUFFICIENT_QUOTA", type: "insufficient_quota" });
    expect(text.length).toBeGreaterThan(100);
    await expect.poll(spent).toBeGreaterThanOrEqual(0.0049);
    const refused = await openai.chat.completions.create({ model: "priced", messages }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 429, code: "INSUFFICIENT_QUOTA", type: "insufficient_quota" });
  });

  test("cannot use a model without a price", async () => {
    const { openai } = await keyWith(1);
    const refused = await openai.chat.completions.create({ model: "free", messages }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 429, param: "model" });
  });

  test("finds its usage at /v1/usage in numbers, like every other credential", async () => {
    model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
    await call("POST", "/v1/conversations", token, { message: "hi", model: "free" });
    await expect
      .poll(async () => (await call("GET", "/v1/usage", token)).usage, { timeout: 5_000 })
      .toEqual(
        expect.arrayContaining([
          expect.objectContaining({ model: "free", requests: 1, prompt_tokens: 7, completion_tokens: 2, cost_usd: 0 }),
          expect.objectContaining({
            model: "priced",
            requests: 2,
            prompt_tokens: expect.any(Number),
            cost_usd: expect.any(Number),
          }),
        ]),
      );
  });
});
