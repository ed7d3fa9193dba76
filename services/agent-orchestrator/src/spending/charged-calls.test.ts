import { create } from "@bufbuild/protobuf";
import { RunInfoSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "../../testing/orchestrator.ts";
import { chunkOf, promptOf, spender, testPrices } from "../../testing/spending.ts";

let mesh: OrchestratorFixture;
let client: ReturnType<typeof spender>;

async function start(env: Record<string, string> = {}) {
  mesh = await startOrchestrator({ MODEL_PRICES: testPrices, ...env });
  client = spender(mesh);
}

beforeEach(() => start());
afterEach(() => mesh.close());

const hasCeiling = () => {
  mesh.identity.spendLimitMicros = 1_000_000_000n;
  mesh.purse.left = 1_000_000_000;
};
const prompt = promptOf(360_000);
const messages = [{ role: "user", content: prompt }];
const never = new Promise<never>(() => {});
const converse = () => mesh.agent.createConversation({ message: prompt, model: "gpt-test" }, asUser);

describe.each([
  ["with a ceiling", hasCeiling],
  ["without one", () => {}],
])("a call of a key %s", (_, prepare) => {
  beforeEach(prepare);

  test("that its client leaves before the first text is charged for its prompt", async () => {
    const rounds = 20;
    for (let round = 0; round < rounds; round++) {
      const leaving = new AbortController();
      mesh.model.reply(round % 2 === 0 ? { beforeHeaders: never } : { text: "late", pauseAfter: { pieces: 0, gate: never } });
      const call = client.stream({ messages }, leaving.signal);
      await mesh.model.request(round);
      leaving.abort();
      await call;
    }
    const { prompt: tokens, estimated, micros } = await client.recorded(rounds);
    expect(tokens).toBeGreaterThanOrEqual((rounds * prompt.length) / 4);
    expect(estimated).toBe(tokens);
    expect(micros).toBe(tokens);
  });

  test("that its client leaves later is charged for the received text too", async () => {
    const leaving = new AbortController();
    mesh.model.reply({ text: promptOf(5_000), pauseAfter: { pieces: 500, gate: never } });
    await client.stream({ messages }, leaving.signal, (text) => {
      if (text.length > 40_000) leaving.abort();
    });
    const { prompt: read, completion, estimated } = await client.recorded(1);
    expect(read).toBeGreaterThanOrEqual(prompt.length / 4);
    expect(completion).toBeGreaterThan(200);
    expect(estimated).toBe(read + completion);
  });

  test("without a stream, whose client leaves, is charged for its prompt and for the time of writing", async () => {
    const leaving = new AbortController();
    mesh.model.reply({ text: "late", beforeHeaders: never });
    const call = client.reason(client.complete({ messages }, leaving.signal));
    await mesh.model.request(0);
    leaving.abort();
    await call;
    const { prompt: read, completion } = await client.recorded(1);
    expect(read).toBeGreaterThanOrEqual(prompt.length / 4);
    expect(completion).toBeGreaterThan(0);
    expect(completion).toBeLessThanOrEqual(4_096);
  });

  test("that breaks off is charged for the received text", async () => {
    mesh.model.reply({ text: promptOf(5_000), cutAfter: 300 });
    expect((await client.stream({ messages })).reason).toBe(ErrorReason.MODEL_FAILED);
    const { prompt: read, completion, estimated } = await client.recorded(1);
    expect(read).toBeGreaterThanOrEqual(prompt.length / 4);
    expect(completion).toBeGreaterThanOrEqual(298);
    expect(estimated).toBe(read + completion);
  });

  test("that fails in mid-stream is charged for the received text, whatever the endpoint had counted", async () => {
    const counted = chunkOf({ content: "a" }).replace("}\n\n", ',"usage":{"prompt_tokens":1000000,"completion_tokens":1}}\n\n');
    const raw = [counted, chunkOf({ content: promptOf(4_000) }), 'data: {"error":{"message":"broken"}}\n\n'];
    mesh.model.reply({ raw });
    expect((await client.stream({ messages })).reason).toBe(ErrorReason.MODEL_FAILED);
    const { prompt: read, completion, estimated } = await client.recorded(1);
    expect(read).toBe(1_000_000);
    expect(completion).toBe(1_001);
    expect(estimated).toBe(1_001);
  });

  test("that gets another content type is charged for its prompt", async () => {
    mesh.model.reply({ raw: ["<html>"], contentType: "text/html" });
    expect((await client.stream({ messages })).reason).toBe(ErrorReason.MODEL_FAILED);
    mesh.model.reply({ raw: ["<html>"] });
    expect(await client.reason(client.complete({ messages }))).toBe(ErrorReason.MODEL_FAILED);
    expect((await client.recorded(2)).prompt).toBeGreaterThanOrEqual((2 * prompt.length) / 4);
  });

  test("is charged for each attempt that may have been worked on", async () => {
    mesh.model.reply({ status: 500 }, { status: 504 }, { text: "Hello.", usage: null });
    await client.complete({ messages });
    const { prompt: read } = await client.recorded(3);
    expect(read).toBeGreaterThanOrEqual((3 * prompt.length) / 4);
  });

  test("that the endpoint refuses before a model works on it costs nothing", async () => {
    for (const status of [400, 401, 404, 413, 422]) {
      mesh.model.reply({ status });
      expect(await client.reason(client.complete({ messages })), String(status)).toBeDefined();
    }
    for (const status of [429, 503, 529]) {
      mesh.model.reply({ status }, { status }, { status });
      expect(await client.reason(client.complete({ messages })), String(status)).toBeDefined();
    }
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 90_000, completion_tokens: 2, total_tokens: 90_002 } });
    await client.complete({ messages });
    expect(await client.recorded(1)).toMatchObject({ prompt: 90_000, completion: 2, estimated: 0 });
  });

  test("that never reached the endpoint costs nothing", async () => {
    await mesh.model.close();
    expect(await client.reason(client.complete({ messages }))).toBe(ErrorReason.MODEL_FAILED);
    expect((await client.stream({ messages })).reason).toBe(ErrorReason.MODEL_FAILED);
    await client.recorded(0);
    if (mesh.identity.spendLimitMicros > 0n) expect(mesh.purse.left).toBe(1_000_000_000);
  });

  test.each([
    ["nothing", null],
    ["zero", { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }],
    ["less than can be", { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 }],
    ["less than nothing", { prompt_tokens: -5, completion_tokens: -1, total_tokens: -6 }],
    ["fractions", { prompt_tokens: 90_000.5, completion_tokens: 2.5, total_tokens: 90_003 }],
  ])("whose endpoint counts %s is charged by an estimate, and said to be", async (_name, usage) => {
    const text = promptOf(20_000);
    mesh.model.reply({ text, usage }, { text, usage });
    await client.complete({ messages });
    await client.stream({ messages });
    const { prompt: read, completion, estimated } = await client.recorded(2);
    expect(read).toBeGreaterThanOrEqual((2 * prompt.length) / 4);
    expect(completion).toBeGreaterThanOrEqual((2 * text.length) / 4);
    expect(estimated).toBe(read + completion);
  });

  test("is charged by the endpoint's plausible counts, including reasoning that only the total has", async () => {
    mesh.model.reply({ text: "Hello.", usage: { prompt_tokens: 80_000, completion_tokens: 2, total_tokens: 80_502 } });
    await client.complete({ messages });
    expect(await client.recorded(1)).toMatchObject({ prompt: 80_000, completion: 502, estimated: 0 });
  });

  test("counts each round of the server's tools", async () => {
    const calls = [{ id: "c1", name: "calculator", arguments: "{}" }];
    mesh.model.reply(
      { calls, usage: null },
      { text: "Hello.", usage: null },
      { calls, usage: null },
      { text: "Hello.", usage: null },
    );
    await client.complete({ messages, tool_choice: undefined });
    await client.stream({ messages, tool_choice: undefined });
    expect((await client.recorded(4)).prompt).toBeGreaterThanOrEqual((4 * prompt.length) / 4);
  });

  test("of a stored run that fails is charged and stands in the run's row", async () => {
    mesh.model.reply({ text: promptOf(1_000), cutAfter: 50 });
    expect(await client.reason(converse())).toBe(ErrorReason.MODEL_FAILED);
    expect(mesh.journal.commits.at(-1)).toMatchObject({ status: RunStatus.FAILED });
    const { usage, cost } = mesh.journal.commits.at(-1) ?? {};
    expect(usage?.promptTokens).toBeGreaterThanOrEqual(prompt.length / 4);
    expect(usage?.completionTokens).toBeGreaterThanOrEqual(48);
    const { prompt: read, completion, micros } = await client.recorded(1);
    expect(usage).toMatchObject({ promptTokens: read, completionTokens: completion });
    expect(cost).toBeCloseTo(micros / 1e6, 9);
  });

  test("of a stored run that is cancelled is charged and stands in the run's row", async () => {
    mesh.model.reply({ text: promptOf(1_000), pauseAfter: { pieces: 100, gate: never } });
    const call = client.reason(converse());
    await mesh.model.request(0);
    mesh.journal.info = create(RunInfoSchema, { status: "cancelled", lastEventId: "1" });
    await mesh.runs.cancelRun({ runId: mesh.journal.run?.id }, asUser);
    expect(await call).toBe(ErrorReason.RUN_CANCELLED);
    const { prompt: read, completion, micros } = await client.recorded(1);
    expect(read).toBeGreaterThanOrEqual(prompt.length / 4);
    expect(mesh.journal.added).toMatchObject([{ usage: { promptTokens: read, completionTokens: completion } }]);
    expect(mesh.journal.added[0]?.cost).toBeCloseTo(micros / 1e6, 9);
  });

  test("of a background run that is parked after a failure is charged and stands in the run's row", async () => {
    mesh.model.reply({ status: 500 }, { status: 500 }, { status: 500 });
    const parked = mesh.journal.reached(RunStatus.QUEUED);
    await mesh.runs.createRun({ message: prompt, model: "gpt-test" }, asUser);
    expect((await parked).usage?.promptTokens).toBeGreaterThanOrEqual((3 * prompt.length) / 4);
    const [event] = (await parked).events;
    expect(event?.type).toBe("retrying");
    expect(JSON.parse(event?.payload ?? "{}")).toMatchObject({ reason: "ERROR_REASON_MODEL_FAILED", error: expect.any(String) });
    expect((await client.recorded(3)).estimated).toBeGreaterThanOrEqual((3 * prompt.length) / 4);
  });
});
