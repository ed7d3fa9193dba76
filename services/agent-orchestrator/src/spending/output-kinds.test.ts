import { ErrorReason } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "../../testing/orchestrator.ts";
import { chunkOf, promptOf, spender, testPrices } from "../../testing/spending.ts";

let mesh: OrchestratorFixture;
let client: ReturnType<typeof spender>;

beforeEach(async () => {
  mesh = await startOrchestrator({ MODEL_PRICES: testPrices });
  client = spender(mesh);
  mesh.identity.spendLimitMicros = 1_000_000n;
  mesh.purse.left = 1_000_000;
});
afterEach(() => mesh.close());

/** The ways in which endpoints send output: each puts a text into a delta. */
const kinds: Readonly<Record<string, (text: string) => object>> = {
  content: (text) => ({ content: text }),
  "content beside a role": (text) => ({ role: "assistant", content: text }),
  "content in parts": (text) => ({ content: [{ type: "text", text }] }),
  reasoning_content: (text) => ({ content: null, reasoning_content: text }),
  "reasoning_content beside content": (text) => ({ content: "a", reasoning_content: text }),
  "reasoning_content before content": (text) => ({ reasoning_content: text, content: "a" }),
  reasoning: (text) => ({ content: "", reasoning: text }),
  thinking: (text) => ({ thinking: text }),
  reasoning_details: (text) => ({ reasoning_details: [{ type: "reasoning.text", text, format: "x", index: 0 }] }),
  thinking_blocks: (text) => ({ thinking_blocks: [{ type: "thinking", thinking: text }] }),
  refusal: (text) => ({ refusal: text }),
  "a tool's arguments": (text) => ({ tool_calls: [{ index: 0, function: { arguments: text } }] }),
  "a tool's arguments as an object": (text) => ({ tool_calls: [{ index: 0, function: { arguments: { text } } }] }),
  "a tool's name": (text) => ({ tool_calls: [{ index: 0, id: "c", type: "function", function: { name: text } }] }),
  "a custom tool's input": (text) => ({ tool_calls: [{ index: 0, type: "custom", custom: { input: text } }] }),
  function_call: (text) => ({ function_call: { name: "f", arguments: text } }),
  "a transcript of sound": (text) => ({ audio: { transcript: text } }),
  "an unknown field": (text) => ({ inner_monologue_v2: text }),
  "a nested unknown field": (text) => ({ vendor: { steps: [{ notes: text }] } }),
};
const word = "word ".repeat(20);
const chunks = (kind: string, count: number) => Array.from({ length: count }, () => chunkOf(kinds[kind]?.(word) ?? {}));
const end = [chunkOf({}, { finish_reason: "stop" }), "data: [DONE]\n\n"];

describe.each(Object.keys(kinds))("output as %s", (kind) => {
  test("is counted when the endpoint counts nothing", async () => {
    mesh.model.reply({ raw: [...chunks(kind, 200), ...end] });
    await client.stream();
    const { completion, estimated } = await client.recorded(1);
    expect(completion).toBeGreaterThanOrEqual((200 * word.length) / 4);
    expect(completion).toBeLessThan(200 * word.length);
    expect(estimated).toBeGreaterThanOrEqual(completion);
  });

  test("is cut at the ceiling", async () => {
    mesh.purse.left = 100_000;
    // Ten times as much as the rest pays for.
    const sent = chunks(kind, 4_000);
    mesh.model.reply({ raw: [...sent, ...end], pauseAfter: { pieces: sent.length, gate: new Promise(() => {}) } });
    const { reason, text } = await client.stream();
    expect(reason).toBe(ErrorReason.SPEND_LIMIT);
    expect(text.length).toBeLessThan(sent.join("").length / 5);
    expect(await (await mesh.model.request(0)).aborted).toBe(true);
    const { micros } = await client.recorded(1);
    expect(micros).toBeGreaterThan(70_000);
    // Off by the piece in flight at most: 8 KiB of the stream.
    expect(micros).toBeLessThanOrEqual(100_000 + (8_192 / 4) * 10);
  });
});

test("the reasoning, refusal and calls of an answer without a stream are counted when the endpoint counts nothing", async () => {
  const message = {
    role: "assistant",
    content: null,
    reasoning_content: promptOf(4_000),
    refusal: promptOf(4_000),
    tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: promptOf(4_000) } }],
  };
  mesh.model.reply({ raw: [JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }] })] });
  await client.complete();
  expect((await client.recorded(1)).completion).toBe(3_001);
});

test("each of several answers is counted", async () => {
  const choice = (index: number) => ({ index, message: { content: promptOf(400) }, finish_reason: "stop" });
  mesh.model.reply({ raw: [JSON.stringify({ choices: [choice(0), choice(1), choice(2)] })] });
  await client.complete({ n: 3 });
  expect((await client.recorded(1)).completion).toBe(300);
});

test("audio and images count by their length, but as far less than text", async () => {
  mesh.model.reply({ raw: [chunkOf({ audio: { data: "A".repeat(64_000) } }), ...end] });
  await client.stream();
  expect((await client.recorded(1)).completion).toBe(1_000);
});

test("padding, ids and similar fields are not output", async () => {
  const padded = chunkOf({ content: "a" }).replace("}\n\n", `,"obfuscation":"${"x".repeat(400)}","system_fingerprint":"fp"}\n\n`);
  mesh.model.reply({ raw: [...Array.from({ length: 100 }, () => padded), ...end] });
  await client.stream();
  expect((await client.recorded(1)).completion).toBe(100);
});

test("a stored run is cut at the ceiling, whatever the model writes", async () => {
  mesh.purse.left = 100_000;
  mesh.model.reply({ raw: [...chunks("reasoning_content", 4_000), ...end] });
  const call = mesh.agent.createConversation({ message: "hi", model: "gpt-test" }, asUser);
  expect(await client.reason(call)).toBe(ErrorReason.SPEND_LIMIT);
  const { micros } = await client.recorded(1);
  expect(micros).toBeGreaterThan(70_000);
  expect(micros).toBeLessThanOrEqual(100_000 + (8_192 / 4) * 10);
});
