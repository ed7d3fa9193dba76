import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { complete } from "../../testing/completion.ts";
import { create, failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";
import { agentConfig, answerLimit } from "../config.ts";
import { maxStoredText } from "../graph/think.ts";

useOrchestrator();

describe("an answer that is larger than a conversation stores", () => {
  test.each([
    ["by its characters", "x".repeat(maxStoredText + 1)],
    ["by what JSON makes of them", "\u0001".repeat(maxStoredText / 5)],
    ["by its bytes", "\u20ac".repeat(maxStoredText / 2)],
  ])("%s ends its run with that cause, and the model is called once", async (_, text) => {
    mesh.model.reply({ text });
    const { reason, message } = await failureOf(create());
    expect(reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect(message).toContain(`larger than the ${maxStoredText} bytes`);
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("is one of more than its limit: one just below it is stored", async () => {
    const text = "x".repeat(maxStoredText - 100);
    mesh.model.reply({ text });
    expect((await create()).response).toBe(text);
  });

  test("by its reasoning ends its run too", async () => {
    const delta = { reasoning_content: "y".repeat(maxStoredText) };
    const chunk = { choices: [{ index: 0, delta, finish_reason: null }] };
    const end = { choices: [{ index: 0, delta: { content: "x" }, finish_reason: "stop" }] };
    mesh.model.reply({ raw: [chunk, end].map((one) => `data: ${JSON.stringify(one)}\n\n`) });
    expect((await failureOf(create())).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
  });
});

test("a completion is no larger than the messages between the parts, whatever LLM_MAX_ANSWER says", async () => {
  mesh.model.reply({ text: "x".repeat(7.5 * 1024 * 1024) });
  expect((await failureOf(complete({}))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
  const limitOf = (env: Record<string, string>) => answerLimit(agentConfig.parse({ MESH_SECRET: "s".repeat(32), ...env }));
  expect(limitOf({ LLM_MAX_ANSWER: "16777216" })).toBe(7_340_032);
  expect(limitOf({ LLM_MAX_ANSWER: "16777216", SERVER_BODY_LIMIT: "16000000" })).toBe(16_000_000);
  expect(limitOf({ LLM_MAX_ANSWER: "100000" })).toBe(100_000);
});
