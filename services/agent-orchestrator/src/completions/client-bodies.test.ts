import { describe, expect, test } from "vitest";
import { clientTool, complete, expectRefused, sent, toolNames, user } from "../../testing/completion.ts";
import { mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

const named = { type: "function", function: { name: "mine" } };
const custom = { type: "custom", custom: { name: "c" } };
const call = { id: "c", type: "function", function: { name: "f", arguments: "" } };
const schema = { type: "object", properties: {}, additionalProperties: false };

/** Bodies as clients send them, whose fields all reach the endpoint. */
const accepted: Readonly<Record<string, object>> = {
  "parts of every kind": {
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "x" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
          { type: "input_audio", input_audio: { data: "AA", format: "wav" } },
          { type: "file", file: { file_data: "data:application/pdf;base64,AA" } },
        ],
      },
    ],
  },
  "messages of every role": {
    messages: [
      { role: "developer", content: "d" },
      { role: "user", content: "q", name: "bob" },
      { role: "assistant", content: null, function_call: { name: "f", arguments: "{}" } },
      { role: "function", name: "f", content: "1" },
      { role: "assistant", content: "", tool_calls: [call] },
      { role: "tool", tool_call_id: "c", content: [{ type: "text", text: "r" }] },
    ],
  },
  "an assistant's message without content": { messages: [user, { role: "assistant" }, user] },
  "NUL and half a character": { messages: [{ role: "user", content: "a\0b\ud800c" }] },
  "tools with parallel_tool_calls": { tools: [clientTool], parallel_tool_calls: false },
  "a named tool": { tools: [clientTool], tool_choice: named },
  "allowed tools": { tools: [clientTool], tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } } },
  "Mistral's word for a required tool": { tools: [clientTool], tool_choice: "any" },
  "a custom tool": { tools: [custom], tool_choice: custom },
  "several answers": { n: 2 },
  "a schema": { response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } } },
  "the newer name of the limit": { max_completion_tokens: 5, tool_choice: "auto" },
  "labels and settings": {
    store: true,
    metadata: { a: "b" },
    user: "u1",
    service_tier: "auto",
    reasoning_effort: "low",
    seed: 7,
    web_search_options: {},
    stop: null,
    logit_bias: { 50256: -100 },
  },
};

describe("a client's body", () => {
  test.each(Object.keys(accepted))("with %s reaches the endpoint whole", async (name) => {
    mesh.model.reply({ text: "hello" });
    await complete(accepted[name] ?? {});
    expect(sent(0)).toMatchObject({ messages: [user], ...accepted[name] });
  });

  test.each([
    [{ tools: null, tool_choice: null, functions: null, temperature: null, max_tokens: null, n: null, stop: null }, true],
    [{ stream: null, stream_options: null, response_format: null, user: null }, true],
    [{ tools: [] }, false],
    [{ tools: [], tool_choice: "none" }, false],
    [{ functions: [] }, false],
    [{ functions: [], function_call: "auto" }, false],
    [{ tool_choice: "none" }, false],
  ])("with empty fields is understood: %j", async (body, hasServerTools) => {
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(toolNames(0)).toEqual(hasServerTools ? ["calculator", "web_search"] : undefined);
    for (const field of ["functions", "function_call"]) expect(sent(0)).not.toHaveProperty(field);
    if (!hasServerTools) expect(Object.keys(sent(0)).sort()).toEqual(["messages", "model"]);
  });

  test.each([
    ["tool_choice", { tool_choice: "sometimes" }, "expected none, auto, required, or an object with a type"],
    ["max_tokens", { max_tokens: -1 }, ""],
    ["max_tokens", { max_tokens: "5" }, ""],
    ["temperature", { temperature: "0.5" }, ""],
    ["stream", { stream: "true" }, ""],
    ["messages", { messages: {} }, ""],
    ["messages", { messages: [] }, ""],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }, "expected a text or a list of parts"],
    ["messages[0].content", { messages: [{ role: "user", content: { type: "text", text: "x" } }] }, "expected a text"],
    ["messages[0].role", { messages: [{ role: "User", content: "x" }] }, '"user"'],
    [
      "messages[1].tool_calls[0].function.arguments",
      { messages: [user, { role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: {} } }] }] },
      "expected string",
    ],
  ])("with a wrong %s is refused by name, and the model is not asked: case %#", async (param, body, words) => {
    await expectRefused(body, param);
    await expect(complete(body)).rejects.toThrow(words);
  });

  test.each([
    ["a byte order mark", (json: string) => `\ufeff${json}`],
    ["two values", (json: string) => json + json],
    ["a half", (json: string) => json.slice(0, -1)],
  ])("that is %s is refused as JSON", async (_what, change) => {
    await expect(complete(change(JSON.stringify({ messages: [user] })))).rejects.toThrow("body: not valid JSON");
  });

  test("with spaces around it, or a brace in its text, is spliced in the right place", async () => {
    mesh.model.reply({ text: "hello" }, { text: "hello" });
    await complete(' \n{"messages":[{"role":"user","content":"}"}]}\n\n ');
    await complete('{"messages":[{"role":"user","content":"hi"}],"messages":[{"role":"user","content":"ho"}]}');
    expect(sent(0)).toMatchObject({ model: "gpt-test", messages: [{ content: "}" }] });
    expect(mesh.model.requests[1]?.bytes.toString()).not.toContain('"hi"');
    for (const index of [0, 1]) expect(toolNames(index)).toEqual(["calculator", "web_search"]);
  });
});
