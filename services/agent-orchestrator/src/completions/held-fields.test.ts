import { ErrorReason } from "@turnwright/platform/errors";
import { beforeEach, describe, expect, test } from "vitest";
import { clientTool, complete, expectRefused, sent, user } from "../../testing/completion.ts";
import { failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";
import { isModelName } from "../model/model-name.ts";

useOrchestrator({ MODEL_PRICES: '{"gpt-test":{"input":1,"output":10}}' });

/** Fields that OpenAI's requests do not have and that do not steer the endpoint. */
const foreign: Readonly<Record<string, unknown>> = {
  timeout: 1,
  num_retries: 50,
  cache: { "no-cache": true },
  guardrails: [],
  provider: { order: ["a"] },
  route: "fallback",
  plugins: [{ id: "web" }],
  transforms: [],
  top_k: 5,
  best_of: 20,
  use_beam_search: true,
  min_tokens: 100_000,
  max_output_tokens: 1,
  chat_template: "{{ messages }}",
  guided_json: {},
  thinking: { type: "enabled" },
  moderation: { model: "other" },
  tags: ["a"],
  prompt_id: "p",
};

function partOf(part: object) {
  return { role: "user", content: [part] };
}

function imageOf(image: object) {
  return partOf({ type: "image_url", image_url: image });
}

describe.each([
  [
    "models",
    () => {
      mesh.identity.allowedModels = ["gpt-test"];
    },
  ],
  [
    "money",
    () => {
      mesh.identity.spendLimitMicros = 1_000_000n;
      mesh.purse.left = 1_000_000;
    },
  ],
])("a request of a token limited to %s", (bounds, prepare) => {
  beforeEach(() => prepare());

  test.each(Object.keys(foreign))("has no field beyond OpenAI's: %s", async (name) => {
    await expectRefused({ model: "gpt-test", [name]: foreign[name] }, name);
  });

  test.each([
    ["messages[0].cache_control", { messages: [{ ...user, cache_control: { type: "ephemeral" } }] }],
    ["messages[0].content[0].video_url", { messages: [{ role: "user", content: [{ type: "text", text: "a", video_url: {} }] }] }],
    ["messages[0].content[0].image_url.format", { messages: [imageOf({ url: "https://a.example/b.png", format: "x" })] }],
    ["messages[0].content[0].image_url.url", { messages: [imageOf({ url: "file:///etc/hosts" })] }],
    ["messages[0].content[0].image_url.url", { messages: [imageOf({ url: "gs://bucket/a" })] }],
    ["messages[0].name", { messages: [{ ...user, name: undefined, ...JSON.parse('{"name":["a"]}') }] }],
    ["tools[0].type", { tools: [{ type: "mcp", server_label: "a" }] }],
    ["tools[0].type", { tools: [{ type: "web_search" }] }],
    ["tools[0].cache_control", { tools: [{ ...clientTool, cache_control: {} }] }],
    ["tools[0].function.defer", { tools: [{ type: "function", function: { name: "f", defer: true } }] }],
    [
      "tool_choice.function.other",
      { tools: [clientTool], tool_choice: { type: "function", function: { name: "mine", other: 1 } } },
    ],
    ["response_format.grammar", { response_format: { type: "text", grammar: "x" } }],
    ["stream_options.other", { stream_options: { other: 1 } }],
    ["metadata.tags", { metadata: { tags: ["a"] } }],
    ["metadata", { metadata: '{"tags":["a"]}' }],
    ["user", { user: { id: 1 } }],
    ["seed", { seed: [1] }],
    ["stop[0]", { stop: [{}] }],
    ["logit_bias.50256", { logit_bias: { 50256: {} } }],
  ])("has no nested field beyond OpenAI's, case %#: %s", async (param, body) => {
    const error = await failureOf(complete({ model: "gpt-test", ...body }));
    expect(error.reason).toBe(ErrorReason.INVALID_REQUEST);
    expect(error.param).toBe(param);
    expect(mesh.model.requests).toHaveLength(0);
  });

  test("may have all of OpenAI's fields", async () => {
    const body = {
      model: "gpt-test",
      messages: [
        { role: "developer", content: [{ type: "text", text: "a", prompt_cache_breakpoint: { mode: "explicit" } }], name: "d" },
        { role: "user", content: [{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }] },
        imageOf({ url: "data:image/png;base64,AAAA", detail: "low" }),
        {
          role: "assistant",
          content: null,
          refusal: null,
          audio: { id: "a" },
          reasoning_content: "hm",
          annotations: [],
          tool_calls: [{ id: "c", type: "function", index: 0, function: { name: "mine", arguments: "{}" } }],
        },
        { role: "tool", tool_call_id: "c", content: "5" },
      ],
      audio: { voice: "alloy", format: "mp3" },
      frequency_penalty: 0,
      logit_bias: { 50256: -100 },
      logprobs: false,
      max_completion_tokens: 10,
      metadata: { team: "a" },
      modalities: ["text"],
      n: 1,
      parallel_tool_calls: true,
      prediction: { type: "content", content: [{ type: "text", text: "a" }] },
      presence_penalty: 0,
      prompt_cache_key: "k",
      prompt_cache_retention: "24h",
      reasoning_effort: "low",
      response_format: { type: "json_schema", json_schema: { name: "s", strict: true, schema: { type: "object" } } },
      safety_identifier: "s",
      seed: 1,
      service_tier: "auto",
      stop: ["a"],
      store: false,
      temperature: 1,
      tool_choice: {
        type: "allowed_tools",
        allowed_tools: { mode: "auto", tools: [{ type: "function", function: { name: "mine" } }] },
      },
      tools: [
        clientTool,
        { type: "custom", custom: { name: "c", format: { type: "grammar", grammar: { syntax: "lark", definition: "a" } } } },
      ],
      top_logprobs: null,
      top_p: 1,
      user: "u",
      verbosity: "low",
    };
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(sent(0)).toEqual(body);
  });

  test.each([
    ["another tier", "service_tier", { service_tier: "priority" }],
    ["the fastest tier", "service_tier", { service_tier: "fast" }],
    ["a search", "web_search_options", { web_search_options: {} }],
    ["a file by its id", "messages[0].content[0].type", { messages: [partOf({ type: "file", file: { file_id: "f" } })] }],
    [
      "a file with its data",
      "messages[0].content[0].type",
      { messages: [partOf({ type: "file", file: { file_data: "data:application/pdf;base64,AAAA" } })] },
    ],
    ["a film", "messages[0].content[0].type", { messages: [partOf({ type: "video_url" })] }],
  ])("has nothing that costs more than its price says, if its money is limited: %s", async (_, param, body) => {
    if (bounds === "money") {
      expect(await failureOf(complete({ model: "gpt-test", ...body }))).toMatchObject({
        reason: ErrorReason.INVALID_REQUEST,
        param,
      });
      return;
    }
    mesh.model.reply({ text: "hello" });
    await complete({ model: "gpt-test", ...body });
    expect(mesh.model.requests).toHaveLength(1);
  });

  test.each([
    "openai/gpt-test",
    "azure/gpt-test",
    " gpt-test",
    "gpt-test ",
    "GPT-TEST",
    "gpt-test:online",
    "gpt-test,gpt-other",
    "gpt-test\u0000",
  ])("cannot name another model by an alias: %j", async (model) => {
    const { reason, param } = await failureOf(complete({ model }));
    expect(param).toBe("model");
    const refused = bounds === "money" ? ErrorReason.SPEND_LIMIT : ErrorReason.MODEL_NOT_ALLOWED;
    expect(reason).toBe(isModelName(model) ? refused : ErrorReason.INVALID_REQUEST);
    expect(mesh.model.requests).toHaveLength(0);
  });
});
