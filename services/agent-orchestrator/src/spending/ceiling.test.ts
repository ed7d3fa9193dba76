import { ErrorReason } from "@turnwright/platform/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type OrchestratorFixture, startOrchestrator } from "../../testing/orchestrator.ts";
import { bodyOf, chunkOf, promptOf, spender } from "../../testing/spending.ts";

let mesh: OrchestratorFixture;
let client: ReturnType<typeof spender>;

beforeEach(async () => {
  const prices = {
    "gpt-test": { input: 1, output: 10 },
    "o9-test": { input: 1, output: 10 },
    "gpt-large": { input: 1, output: 10, image_tokens: 50_000 },
  };
  mesh = await startOrchestrator({ MODEL_PRICES: JSON.stringify(prices) });
  client = spender(mesh);
  mesh.identity.spendLimitMicros = 1_000_000n;
});
afterEach(() => mesh.close());

const gated = () => Promise.withResolvers<void>();
const saidAll = (prompt_tokens: number, completion_tokens: number) => ({
  prompt_tokens,
  completion_tokens,
  total_tokens: prompt_tokens + completion_tokens,
});
const sent = (index: number) => mesh.model.requests[index]?.body as unknown as Record<string, number>;

describe("a reservation", () => {
  test("covers the largest size of a prompt: calls in flight and one call more do not pass the ceiling together", async () => {
    const messages = [{ role: "user", content: promptOf(60_000) }];
    const bytes = bodyOf({ messages }).byteLength;
    mesh.purse.left = 2 * bytes + 10_000;
    const gate = gated();
    const reply = { text: "Hello.", beforeHeaders: gate.promise, usage: saidAll(bytes, 1) };
    mesh.model.reply(reply, reply, reply);
    const underWay = [0, 1].map(() => client.complete({ messages, max_tokens: 10 }));
    await mesh.model.request(1);
    const third = client.reason(client.complete({ messages, max_tokens: 10 }));
    gate.resolve();
    expect(await third).toBe(ErrorReason.SPEND_LIMIT);
    await Promise.all(underWay);
    await client.recorded(2);
    expect(mesh.purse.left).toBe(10_000 - 20);
  });

  test("takes all that is left when that covers the prompt's likely size, so that no other call spends meanwhile", async () => {
    const messages = [{ role: "user", content: promptOf(60_000) }];
    mesh.purse.left = 40_000;
    const gate = gated();
    mesh.model.reply({ text: "Hello.", beforeHeaders: gate.promise, usage: saidAll(15_000, 1) });
    const first = client.complete({ messages });
    await mesh.model.request(0);
    expect(mesh.purse.left).toBe(0);
    expect(await client.reason(client.complete())).toBe(ErrorReason.SPEND_LIMIT);
    gate.resolve();
    await first;
    await client.recorded(1);
    expect(mesh.purse.left).toBe(40_000 - 15_010);
  });

  test("counts all answers, the wider of two bounds, and a prediction", async () => {
    mesh.purse.left = 1_000_000;
    mesh.model.reply({ text: "Hello." }, { text: "Hello." });
    await client.complete({ n: 3, max_tokens: 5_000, max_completion_tokens: 1 });
    expect(mesh.purse.reserved[0]).toBeGreaterThanOrEqual(3 * 5_000 * 10);
    await client.complete({ max_tokens: 1, prediction: { type: "content", content: promptOf(3_000) } });
    expect(mesh.purse.reserved[1]).toBeGreaterThanOrEqual(3_000 * 10);
  });

  test("bounds each of several answers, by every bound in the request", async () => {
    mesh.purse.left = 20_000;
    mesh.model.reply({ text: "Hello." }, { text: "Hello." });
    await client.complete({ n: 4, max_tokens: 9_000, max_completion_tokens: 8_000 });
    await client.recorded(1);
    const most = Math.floor(20_000 / 10 / 4);
    expect(sent(0).max_tokens).toBeLessThanOrEqual(most);
    expect(sent(0).max_completion_tokens).toBeLessThanOrEqual(most);
    expect(sent(0).max_tokens).toBeGreaterThan(most - 20);
  });

  test("bounds the stream of a model with hidden reasoning, which cannot be cut in time", async () => {
    mesh.purse.left = 20_000;
    mesh.model.reply({ text: "Hello." }, { text: "Hello." });
    await client.stream({ model: "o9-test" });
    expect(sent(0).max_completion_tokens).toBeLessThanOrEqual(2_000);
    await client.recorded(1);
    await client.stream();
    expect(sent(1)).not.toHaveProperty("max_tokens");
  });

  test("pays for each attempt that may have been worked on", async () => {
    const messages = [{ role: "user", content: promptOf(30_000) }];
    mesh.purse.left = 45_000;
    mesh.model.reply({ status: 500 }, { status: 500 }, { text: "Hello." });
    expect(await client.reason(client.complete({ messages, max_tokens: 1 }))).toBe(ErrorReason.SPEND_LIMIT);
    expect((await client.recorded(2)).micros).toBeLessThanOrEqual(45_000);
    expect(mesh.model.requests).toHaveLength(2);
  });

  test("grows by the cost of a large piece, and does not cut a stream that is paid for", async () => {
    mesh.purse.left = 1_000_000;
    const raw = [chunkOf({ reasoning_content: promptOf(200_000) }), chunkOf({}, { finish_reason: "stop" }), "data: [DONE]\n\n"];
    mesh.model.reply({ raw });
    expect((await client.stream()).reason).toBeUndefined();
    expect((await client.recorded(1)).completion).toBe(50_000);
  });
});

describe("a prompt with more than text", () => {
  const picture = (url: string) => [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];

  test("counts each image, wherever it is", async () => {
    mesh.purse.left = 1_000_000;
    mesh.model.reply({ text: "Hello.", usage: null }, { text: "Hello.", usage: null }, { text: "Hello.", usage: null });
    await client.complete({ messages: picture("https://pictures.example/a.png") });
    expect((await client.recorded(1)).prompt).toBeGreaterThan(4_096);
    await client.complete({ messages: picture(`data:image/png;base64,${"A".repeat(90_000)}`) });
    const { prompt } = await client.recorded(2);
    expect(prompt).toBeGreaterThan(2 * 4_096);
    expect(prompt).toBeLessThan(2 * 4_096 + 500);
    await client.complete({ model: "gpt-large", messages: picture("https://pictures.example/a.png") });
    expect((await client.recorded(3)).prompt - prompt).toBeGreaterThan(50_000);
  });

  test("may be reported as few tokens when most of its bytes are an image's", async () => {
    mesh.purse.left = 1_000_000;
    mesh.model.reply({ text: "Hello.", usage: saidAll(1_200, 2) });
    await client.complete({ messages: picture(`data:image/png;base64,${"A".repeat(900_000)}`) });
    expect(await client.recorded(1)).toMatchObject({ prompt: 1_200, estimated: 0 });
  });
});
