import { ErrorReason } from "@turnwright/platform/errors";
import { wholeCompletion } from "@turnwright/testing/scripted-model";
import { beforeEach, describe, expect, test } from "vitest";
import { clientTool, complete, sent, stream, toolNames } from "../../testing/completion.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

describe("the request to the model", () => {
  test("is the client's body, byte for byte, when nothing is added", async () => {
    const body = `{ "model":"gpt-x",  "messages":[{"role":"user","content":"h\\u00e9"}], "tools":[${JSON.stringify(clientTool)}], "seed":1.50 }`;
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(mesh.model.requests[0]?.bytes.toString()).toBe(body);
  });

  test("names the default model when the client names none", async () => {
    for (const body of [{}, { model: "" }, { model: null }]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(sent(mesh.model.requests.length - 1).model).toBe("gpt-test");
    }
  });

  test("offers the server's tools that need no approval", async () => {
    for (const body of [{}, { tools: null }, { tool_choice: "auto" }]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(toolNames(mesh.model.requests.length - 1)).toEqual(["calculator", "web_search"]);
    }
  });

  test("offers no more tools than the token allows", async () => {
    mesh.identity.allowedTools = ["web_search", "send_mail"];
    mesh.model.reply({ text: "hello" });
    await complete({});
    expect(toolNames(0)).toEqual(["web_search"]);
  });

  test("offers no tools, and has no tool fields, when there are none to use", async () => {
    mesh.identity.allowedTools = ["unheard_of"];
    for (const body of [
      { tools: [], tool_choice: "auto", parallel_tool_calls: true },
      { tools: null, tool_choice: "none" },
    ]) {
      mesh.model.reply({ text: "hello" });
      await complete(body);
      expect(Object.keys(sent(mesh.model.requests.length - 1)).sort()).toEqual(["messages", "model"]);
    }
  });

  test("offers no server tools when tool_choice is none", async () => {
    mesh.model.reply({ text: "hello" });
    await complete({ tool_choice: "none" });
    expect(sent(0)).not.toHaveProperty("tools");
    expect(sent(0)).not.toHaveProperty("tool_choice");
  });

  test("keeps a client's own tools and tool choice, in the older format too", async () => {
    const named = { type: "function", function: { name: "mine" } };
    mesh.model.reply({ text: "hello" }, { text: "hello" });
    await complete({ tools: [clientTool], tool_choice: named });
    await complete({ functions: [{ name: "mine" }], function_call: "auto" });
    expect(sent(0)).toMatchObject({ tools: [clientTool], tool_choice: named });
    expect(sent(1)).toMatchObject({ functions: [{ name: "mine" }], function_call: "auto" });
    expect(sent(1)).not.toHaveProperty("tools");
  });

  test("asks for a stream and its usage exactly when the answer is streamed", async () => {
    mesh.model.reply({ text: "hello" }, { text: "hello" }, { text: "hello" });
    await stream({ stream: true, stream_options: { include_usage: false, other: 1 } });
    await stream({});
    await complete({ stream: true, stream_options: { include_usage: true } });
    expect(sent(0)).toMatchObject({ stream: true, stream_options: { include_usage: true, other: 1 } });
    expect(sent(1)).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    expect(sent(2)).not.toHaveProperty("stream");
    expect(sent(2)).not.toHaveProperty("stream_options");
  });
});

describe("a token's models", () => {
  beforeEach(() => {
    mesh.identity.allowedModels = ["gpt-small"];
  });

  test.each([{ model: "gpt-big" }, {}])("refuse others: %j", async (body) => {
    expect(await failureOf(complete(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
    expect(await failureOf(stream(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: "model" });
    expect(mesh.model.requests).toHaveLength(0);
  });

  test("apply to the model that is asked, not only to the one that is parsed", async () => {
    const twice = '{"model":"gpt-big","messages":[{"role":"user","content":"hi"}],"\\u006dodel":"gpt-small"}';
    mesh.model.reply({ text: "hello" });
    await complete(twice);
    const request = mesh.model.requests[0]?.bytes.toString() ?? "";
    expect(request).toContain('"model":"gpt-small"');
    expect(request).not.toContain("gpt-big");
    expect(await failureOf(complete(twice.replace("gpt-small", "gpt-big")))).toMatchObject({
      reason: ErrorReason.MODEL_NOT_ALLOWED,
    });
  });

  test.each(["Model", "MODEL", "models", "fallbacks", "context_window_fallbacks"])("refuse other models in %s", async (field) => {
    const body = { model: "gpt-small", [field]: ["gpt-big"] };
    expect(await failureOf(complete(body))).toMatchObject({ reason: ErrorReason.MODEL_NOT_ALLOWED, param: field });
    mesh.identity.allowedModels = ["*"];
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(mesh.model.requests).toHaveLength(1);
  });

  test("decide which models are listed", async () => {
    expect((await mesh.completions.listModels({}, asUser)).data).toEqual([]);
    mesh.identity.allowedModels = ["gpt-other"];
    expect((await mesh.completions.listModels({}, asUser)).data.map(({ id }) => id)).toEqual(["gpt-other"]);
    mesh.identity.allowedModels = [];
    expect((await mesh.completions.listModels({}, asUser)).data.map(({ id }) => id)).toEqual(["gpt-test", "gpt-other"]);
  });
});

describe("a plain completion", () => {
  test("passes on the model's own bytes", async () => {
    mesh.model.reply({ text: "hello there" });
    const answer = await complete({});
    expect(Buffer.from(answer.body).toString()).toBe(wholeCompletion({ text: "hello there" }));
    expect(answer).toMatchObject({ model: "scripted", usage: { promptTokens: 10, completionTokens: 5, totalTokens: 15 } });
    expect(mesh.executed).toHaveLength(0);
  });

  test("returns the client's tool calls", async () => {
    mesh.model.reply(callsFor("mine"), callsFor("mine"));
    const answer = await complete({ tools: [clientTool] });
    expect(answer.json.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { tool_calls: [{ function: { name: "mine" } }] },
    });
    const streamed = await stream({ tools: [clientTool] });
    expect(streamed.frames.filter(({ type }) => type === "tool_call")).toHaveLength(1);
    expect(streamed.frames.at(-1)).toMatchObject({ type: "finish", delta: "tool_calls" });
    expect(mesh.executed).toHaveLength(0);
  });

  test.each([
    ["garbage", "<html>"],
    ["null", "null"],
    ["no choices", "{}"],
  ])("fails on %s", async (_name, raw) => {
    mesh.model.reply({ raw: [raw] });
    expect(await failureOf(complete({}))).toMatchObject({ reason: ErrorReason.MODEL_FAILED });
  });

  test("may be several answers", async () => {
    for (const choice of [{}, { tool_choice: "none" }]) {
      mesh.model.reply({ text: "hello" });
      await complete({ n: 2, ...choice });
      expect(sent(mesh.model.requests.length - 1)).toMatchObject({ n: 2 });
    }
  });
});
