import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { loadConfig } from "@turnwright/platform/config/env";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator, testUser } from "../../testing/orchestrator.ts";
import { agentConfig } from "../config.ts";
import { costMicros } from "./prices.ts";

let mesh: OrchestratorFixture;

beforeEach(async () => {
  // 1 millionth of a dollar per input token, 10 per output token.
  mesh = await startOrchestrator({ MODEL_PRICES: '{"gpt-test":{"input":1,"output":10}}' }, { usageFlushMs: 500 });
});
afterEach(() => mesh.close());

const bodyOf = (rest: object = {}) =>
  Buffer.from(JSON.stringify({ model: "gpt-test", tool_choice: "none", messages: [{ role: "user", content: "hi" }], ...rest }));
const complete = (rest?: object) => mesh.completions.complete({ body: bodyOf(rest) }, asUser);
const reason = (call: Promise<unknown>) => call.then(() => undefined, reasonOf);

async function stream(rest: object = {}) {
  let text = "";
  const frames = mesh.completions.streamComplete(
    { body: bodyOf({ stream: true, ...rest }), format: StreamFormat.OPENAI },
    asUser,
  );
  try {
    for await (const batch of frames) text += Buffer.from(batch.frames).toString("utf8");
    return { text, reason: undefined };
  } catch (error) {
    return { text, reason: reasonOf(error) };
  }
}

const settled = () => expect.poll(() => mesh.purse.open.size, { timeout: 5_000 }).toBe(0);
const words = (count: number) => Array.from({ length: count }, (_, i) => `w${i} `).join("");

describe("a token without a ceiling", () => {
  test("reserves nothing, and its usage is recorded in batches, with the cost", async () => {
    for (let i = 0; i < 3; i++) {
      mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
      await complete();
    }
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
    await stream();
    await expect.poll(() => mesh.purse.usage.length, { timeout: 5_000 }).toBe(1);
    expect(mesh.purse.usage).toMatchObject([
      { ...testUser, model: "gpt-test", requests: 4n, promptTokens: 28n, completionTokens: 8n, costMicros: 4n * 27n },
    ]);
  });

  test("records the rest when the process ends", async () => {
    mesh.model.reply({ text: "Hello." });
    await complete();
    await mesh.close();
    expect(mesh.purse.usage).toHaveLength(1);
    mesh = await startOrchestrator();
  });

  test("stores the cost of a stored run with its conversation", async () => {
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
    await mesh.agent.createConversation({ message: "hi", model: "gpt-test" }, asUser);
    expect(mesh.journal.commits.at(-1)?.cost).toBeCloseTo(27e-6, 9);
  });
});

describe("a key with a spend ceiling", () => {
  beforeEach(() => {
    mesh.identity.spendLimitMicros = 1_000_000n;
    mesh.purse.left = 1_000_000;
  });

  test("pays for its usage and gets the rest of its reservation back", async () => {
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
    await complete();
    await settled();
    expect(mesh.purse.left).toBe(1_000_000 - 27);
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } });
    expect((await stream()).reason).toBeUndefined();
    await settled();
    expect(mesh.purse.left).toBe(1_000_000 - 54);
  });

  test("may not use a model without a price, nor name another model besides the first", async () => {
    expect(await reason(complete({ model: "gpt-other" }))).toBe(ErrorReason.SPEND_LIMIT);
    expect(await reason(complete({ fallbacks: ["gpt-other"] }))).toBe(ErrorReason.MODEL_NOT_ALLOWED);
    expect(mesh.model.requests).toHaveLength(0);
    expect(await reason(mesh.agent.createConversation({ message: "hi", model: "gpt-other" }, asUser))).toBe(
      ErrorReason.SPEND_LIMIT,
    );
  });

  test("is refused before the model is asked when the rest does not cover the prompt", async () => {
    mesh.purse.left = 5;
    expect(await reason(complete())).toBe(ErrorReason.SPEND_LIMIT);
    expect((await stream()).reason).toBe(ErrorReason.SPEND_LIMIT);
    await settled();
    expect(mesh.model.requests).toHaveLength(0);
    expect(mesh.purse.left).toBe(5);
  });

  test("bounds an answer without a stream to the reserved tokens", async () => {
    mesh.purse.left = 200 + 5 * 10;
    const prompt = Math.ceil(bodyOf({ model: "gpt-test" }).byteLength / 3);
    mesh.model.reply({ text: "Hello." });
    await complete();
    const sent = mesh.model.requests[0]?.body as unknown as { max_tokens: number };
    expect(sent.max_tokens).toBe(Math.floor((250 - prompt) / 10));
    mesh.purse.left = 1_000_000;
    mesh.model.reply({ text: "Hello." });
    await complete({ max_completion_tokens: 3 });
    expect(mesh.model.requests[1]?.body).toMatchObject({ max_completion_tokens: 3 });
  });

  test("pays for a long stream step by step", async () => {
    mesh.model.reply({ text: words(3_000), usage: { prompt_tokens: 7, completion_tokens: 3_000, total_tokens: 3_007 } });
    const { text, reason: failure } = await stream();
    expect(failure).toBeUndefined();
    expect(text).toContain("w2999");
    await settled();
    expect(mesh.purse.left).toBe(1_000_000 - 30_007);
  });

  test("has its stream cut at the ceiling, off by no more than the piece in flight", async () => {
    mesh.purse.left = 12_000;
    mesh.model.reply({ text: words(5_000), usage: { prompt_tokens: 7, completion_tokens: 5_000, total_tokens: 5_007 } });
    const { text, reason: failure } = await stream();
    expect(failure).toBe(ErrorReason.SPEND_LIMIT);
    expect(text).toContain(" w100");
    expect(text).not.toContain("w4999");
    expect(text).not.toContain("[DONE]");
    await settled();
    // 64 KiB of chunks of some 190 bytes, ten millionths each.
    expect(mesh.purse.left).toBeGreaterThanOrEqual(-4_400);
    expect(mesh.purse.usage).toHaveLength(1);
  });

  test("counts the text of a stream without usage, and the text sent to a client that left", async () => {
    mesh.model.reply({ text: words(50), usage: null });
    await stream();
    await settled();
    const usage = mesh.purse.usage[0];
    expect(Number(usage?.completionTokens)).toBeGreaterThanOrEqual(50);
    expect(usage?.requests).toBe(1n);
  });

  test("pays nothing for a request that the model refused", async () => {
    mesh.model.reply({ status: 400, error: "no" });
    expect(await reason(complete())).toBe(ErrorReason.MODEL_REJECTED);
    await settled();
    expect(mesh.purse.left).toBe(1_000_000);
  });
});

describe("MODEL_PRICES", () => {
  const load = (MODEL_PRICES: string) =>
    loadConfig(agentConfig, { MESH_SECRET: "a-secret-of-the-tests-with-32-characters", MODEL_PRICES });

  test.each([
    ["{", "MODEL_PRICES: expected JSON"],
    ['{"m":{"input":1}}', "MODEL_PRICES: m.output"],
    ['{"m":{"input":-1,"output":1}}', "MODEL_PRICES: m.input"],
    ["/no/such/file.json", "MODEL_PRICES: expected JSON or the path"],
  ])("is refused at start as %s", (text, message) => {
    expect(() => load(text)).toThrow(message);
  });

  test("counts in US dollars per million tokens, rounded up to a millionth", () => {
    const price = load('{"m":{"input":0.15,"output":0.6}}').MODEL_PRICES.get("m");
    expect(costMicros(price, { prompt_tokens: 1_000_000, completion_tokens: 0 })).toBe(150_000);
    expect(costMicros(price, { prompt_tokens: 1, completion_tokens: 1 })).toBe(1);
    expect(costMicros(undefined, { prompt_tokens: 1, completion_tokens: 1 })).toBe(0);
  });

  test("count cached and reasoning tokens at their own price, where there is one, and never more of them than there are", () => {
    const used = { prompt_tokens: 100, completion_tokens: 10, cached_tokens: 80, reasoning_tokens: 4 };
    const price = { input: 10, output: 100, cached: 1, reasoning: 50 };
    expect(costMicros(price, used)).toBe(20 * 10 + 80 * 1 + 6 * 100 + 4 * 50);
    expect(costMicros({ input: 10, output: 100 }, used)).toBe(2_000);
    expect(costMicros(price, { ...used, cached_tokens: 1_000, reasoning_tokens: 1_000 })).toBe(100 + 500);
  });

  test.each([
    [
      "OpenAI",
      { prompt_tokens_details: { cached_tokens: 6 }, completion_tokens_details: { reasoning_tokens: 1 } },
      10 + 6 + 10 + 50,
    ],
    ["DeepSeek", { prompt_cache_hit_tokens: 6 }, 10 + 6 + 20],
    ["nobody", {}, 70 + 20],
    [
      "an endpoint with impossible counts",
      { prompt_tokens_details: { cached_tokens: -5 }, prompt_cache_hit_tokens: 1e9 },
      70 + 20,
    ],
  ])("count the cached and reasoning tokens that %s tells", async (_who, details, cost) => {
    const MODEL_PRICES = '{"gpt-test":{"input":10,"output":10,"cached":1,"reasoning":50}}';
    const other = await startOrchestrator({ MODEL_PRICES }, { usageFlushMs: 20 });
    const usage = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9, ...details };
    other.model.reply({ text: "Hello.", usage });
    await other.completions.complete({ body: bodyOf() }, asUser);
    await other.close();
    expect(other.purse.usage.map(({ costMicros: micros }) => Number(micros))).toEqual([cost]);
  });
});
