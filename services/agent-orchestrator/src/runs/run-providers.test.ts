import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ScriptedRequest, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, expect, test } from "vitest";
import { asUser } from "../../testing/orchestrator.ts";
import { create, mesh, useOrchestrator } from "../../testing/runs.ts";

const one = await startScriptedModel();
const two = await startScriptedModel();
const folder = mkdtempSync(join(tmpdir(), "turnwright-providers-"));
const file = join(folder, "models.json");
const providers = { one: { base_url: one.url }, two: { base_url: two.url } };
const models = {
  main: { provider: "one", upstream: "maker/thinker-1", window: 128_000, fallbacks: ["spare"] },
  spare: { provider: "two", upstream: "maker/thinker-1", window: 2_000 },
};
writeFileSync(file, JSON.stringify({ providers, models }));
afterAll(async () => {
  await Promise.all([one.close(), two.close()]);
  rmSync(folder, { recursive: true, force: true });
});

useOrchestrator({ MODELS_FILE: file, LLM_DEFAULT_MODEL: "main" });

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const signed = {
  index: 0,
  id: "c1",
  type: "function",
  extra_content: { google: { thought_signature: "c2ln" } },
  function: { name: "calculator", arguments: "{}" },
};
const reasoned = {
  contentType: "text/event-stream",
  raw: [chunk({ reasoning_content: "I should calculate." }), chunk({ tool_calls: [signed] }, "tool_calls"), "data: [DONE]\n\n"],
};
const say = (message: string) => mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message }, asUser);
const textOf = (request: ScriptedRequest | undefined) => JSON.stringify(request?.body.messages);
const down = { status: 503, headers: { "retry-after": "60" } };

test("each target of a model gets its own history: what fits in its window, with its own fields alone", async () => {
  one.reply(reasoned, { text: "It is 5." }, down, { text: "Back." });
  two.reply({ text: "From the spare one." });
  await create(`What is 2 + 3? ${"word ".repeat(4_000)}`);
  expect(await say("Sure?")).toMatchObject({ response: "From the spare one." });
  expect(await say("And now?")).toMatchObject({ response: "Back." });

  const toOne = one.requests.filter(({ method }) => method === "POST");
  const toTwo = two.requests.filter(({ method }) => method === "POST");
  for (const request of [toOne[1], toOne[2], toOne[3]]) {
    expect(textOf(request)).toContain('"reasoning_content":"I should calculate."');
    expect(textOf(request)).toContain('"thought_signature":"c2ln"');
    expect(textOf(request).length).toBeGreaterThan(20_000);
  }
  expect(toTwo).toHaveLength(1);
  expect(textOf(toTwo[0])).not.toMatch(/reasoning_content|thought_signature/);
  expect(textOf(toTwo[0]).length).toBeLessThan(2_000 * 3);
  expect(toTwo[0]?.body.messages.at(-1)).toEqual({ role: "user", content: "Sure?" });

  const stored = mesh.journal.commits.flatMap(({ messages }) => messages).filter(({ role }) => role === "assistant");
  expect(stored.map(({ providerFields }) => JSON.parse(providerFields).provider)).toEqual(["one", "one", "two", "one"]);
});
