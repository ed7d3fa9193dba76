import { ServerTools } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { clientTool, complete, sent, stream, textIn, toolNames } from "../../testing/completion.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, create, failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";
import { blamesTools, ToolRefusals } from "./tool-refusals.ts";

useOrchestrator();

const refusal = { status: 400, error: "registry.ollama.ai/library/gemma3:latest does not support tools" };
const ways = {
  whole: async (body: object, serverTools?: ServerTools) => (await complete(body, serverTools)).json.choices[0].message.content,
  streamed: async (body: object, serverTools?: ServerTools) => textIn((await stream(body, undefined, serverTools)).frames),
};

describe.each(Object.entries(ways))("a model without tools, asked for a %s answer", (_way, ask) => {
  test("answers without the server's tools, and is not asked with them again", async () => {
    mesh.model.reply(refusal, { text: "hello" }, { text: "again" });
    expect(await ask({ model: "gemma3", parallel_tool_calls: true })).toBe("hello");
    expect(await ask({ model: "gemma3" })).toBe("again");
    expect([0, 1, 2].map(toolNames)).toEqual([["calculator", "web_search"], undefined, undefined]);
    expect(sent(1)).not.toHaveProperty("parallel_tool_calls");
    mesh.model.reply({ text: "other" });
    await ask({ model: "other" });
    expect(toolNames(3)).toEqual(["calculator", "web_search"]);
  });

  test("refuses tools that the client demanded or brought, and the client learns it", async () => {
    for (const [body, serverTools] of [
      [{}, ServerTools.ON],
      [{ tool_choice: "required" }, ServerTools.UNSPECIFIED],
      [{ tools: [clientTool] }, ServerTools.UNSPECIFIED],
    ] as const) {
      const from = mesh.model.requests.length;
      mesh.model.reply(refusal);
      expect(await failureOf(ask(body, serverTools))).toMatchObject({ reason: ErrorReason.MODEL_REJECTED });
      expect(mesh.model.requests).toHaveLength(from + 1);
    }
  });

  test("is asked with tools again when it refuses the request without them too", async () => {
    mesh.model.reply(refusal, { status: 400, error: "no" }, { text: "hello" });
    expect(await failureOf(ask({ model: "gemma3" }))).toMatchObject({ message: expect.stringContaining("no") });
    expect(await ask({ model: "gemma3" })).toBe("hello");
    expect(toolNames(2)).toEqual(["calculator", "web_search"]);
  });

  test("is not asked twice for a refusal of another kind, nor after a round of tools", async () => {
    mesh.model.reply({ status: 400, error: "The image is not supported." });
    await failureOf(ask({}));
    expect(mesh.model.requests).toHaveLength(1);
    mesh.model.reply(callsFor("calculator"), refusal);
    await failureOf(ask({}));
    expect(mesh.model.requests).toHaveLength(3);
  });
});

describe("a model without tools, in a stored run", () => {
  const say = (message: string) => mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message }, asUser);

  test("answers without the server's tools, and is not asked with them again", async () => {
    mesh.model.reply(refusal, { text: "hello" }, { text: "again" });
    expect(await create("one", { model: "gemma3" })).toMatchObject({ response: "hello" });
    await say("two");
    expect([0, 1].map(toolNames)).toEqual([expect.arrayContaining(["calculator", "web_search"]), undefined]);
    mesh.model.reply({ text: "third" });
    await create("one", { model: "gemma3" });
    expect(toolNames(mesh.model.requests.length - 1)).toBeUndefined();
  });

  test("fails with the refusal when that comes without tools as well, or after a round of tools", async () => {
    mesh.model.reply(refusal, refusal);
    expect(await failureOf(create("one"))).toMatchObject({ reason: ErrorReason.MODEL_REJECTED });
    expect(mesh.model.requests).toHaveLength(2);
    mesh.model.reply(callsFor("calculator"), refusal);
    expect(await failureOf(create("one"))).toMatchObject({ reason: ErrorReason.MODEL_REJECTED });
    expect(mesh.model.requests).toHaveLength(4);
  });
});

test.each([
  [true, "registry.ollama.ai/library/gemma:2b does not support tools"],
  [true, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'],
  [true, "The model's endpoint answered 500: tools param requires --jinja flag"],
  [true, "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai"],
  [true, "Unsupported parameter: 'tools' is not supported with this model."],
  [true, "deepseek-reasoner does not support Function Calling"],
  [true, "Function calling is not enabled for models/gemma-3-27b-it"],
  [true, "`tool calling` is not supported with this model"],
  [true, "Model incompatible request argument supplied: tools"],
  [true, "This model doesn't support tool use in streaming mode."],
  [false, "The image format is not supported."],
  [false, "Your plan does not support this model."],
  [false, "Invalid value for 'temperature'."],
])("blame of the tools is %s for: %s", (expected, words) => {
  expect(blamesTools(fail(ErrorReason.MODEL_REJECTED, words))).toBe(expected);
  expect(blamesTools(fail(ErrorReason.MODEL_RATE_LIMITED, words))).toBe(false);
});

test("blame of the tools is in the error's field, too", () => {
  const blaming = (param: string) => blamesTools(fail(ErrorReason.MODEL_UNPROCESSABLE, "Extra inputs", { param }));
  expect([blaming("tools"), blaming("tools[0].function"), blaming("tool_choice"), blaming("toolbox")]).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test("a model's refusal of tools is remembered for an hour, for a bounded number of models", () => {
  let now = 0;
  const known = new ToolRefusals(undefined, () => now);
  known.add("a");
  now += 3_599_999;
  expect([known.has("a"), known.has("b")]).toEqual([true, false]);
  now += 1;
  expect(known.has("a")).toBe(false);
  for (let i = 0; i < 1_001; i++) known.add(`m${i}`);
  expect([known.has("m0"), known.has("m1000")]).toEqual([false, true]);
});

test("the operator's statement about a model comes before what its endpoint has shown", () => {
  const stated = new Map([
    ["with", new Set(["tools"])],
    ["without", new Set(["vision"])],
  ]);
  const known = new ToolRefusals({ capabilitiesOf: (model) => stated.get(model) });
  for (const model of ["with", "other"]) known.add(model);
  expect(["with", "without", "other", "unknown"].map((model) => known.has(model))).toEqual([false, true, true, false]);
});
