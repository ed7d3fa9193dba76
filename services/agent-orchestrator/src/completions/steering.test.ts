import { ErrorReason } from "@turnwright/platform/errors";
import fc from "fast-check";
import { beforeEach, describe, expect, it, test } from "vitest";
import { bytesOf, clientTool, complete, sent, stream, user } from "../../testing/completion.ts";
import { startOrchestrator } from "../../testing/orchestrator.ts";
import { failureOf, mesh, useOrchestrator } from "../../testing/turns.ts";
import { isModelName } from "../model/model-name.ts";
import { isAmbiguous } from "./body.ts";
import { refuseSteering } from "./steering-fields.ts";

useOrchestrator({ MODEL_PRICES: '{"gpt-test":{"input":1,"output":10}}' });

/** Fields by which a request could say where it goes, with which key, or to whom. */
const steering: Readonly<Record<string, unknown>> = {
  api_base: "http://127.0.0.1:1/v1",
  base_url: "http://127.0.0.1:1/v1",
  api_key: "sk-mine",
  api_type: "azure",
  api_version: "2020-01-01",
  openai_api_base: "http://127.0.0.1:1",
  openai_api_key: "sk-mine",
  user_config: { model_list: [{ model_name: "a", litellm_params: { model: "b", api_base: "http://127.0.0.1:1" } }] },
  router_settings_override: { fallbacks: [] },
  litellm_params: { api_base: "http://127.0.0.1:1" },
  litellm_metadata: { tags: ["a"] },
  litellm_credential_name: "other",
  custom_llm_provider: "azure",
  organization: "org-other",
  deployment_id: "other",
  extra_body: { api_base: "http://127.0.0.1:1" },
  extra_headers: { authorization: "Bearer mine" },
  extra_query: { a: 1 },
  headers: { "x-api-key": "mine" },
  default_headers: {},
  model_list: [],
  mock_response: "free",
  mock_testing_fallbacks: true,
  aws_access_key_id: "AKIA",
  aws_bedrock_runtime_endpoint: "http://127.0.0.1:1",
  vertex_credentials: "{}",
  azure_ad_token: "t",
  langfuse_host: "http://127.0.0.1:1",
  langfuse_secret_key: "s",
  success_callback: ["a"],
  slack_webhook_url: "http://127.0.0.1:1",
  user_api_key_alias: "admin",
  proxy_server_request: { url: "http://127.0.0.1:1" },
  authorization: "Bearer mine",
};
const names = Object.keys(steering);

const refusedBy = async (body: object | string, param: string) => {
  const expected = { reason: ErrorReason.INVALID_REQUEST, param };
  expect(await failureOf(complete(body))).toMatchObject(expected);
  expect(await failureOf(stream(body))).toMatchObject(expected);
  expect(mesh.model.requests).toHaveLength(0);
};

/** Fields that no request of OpenAI's has, and that steer nothing for who is held to nothing. */
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

describe.each([
  ["held to nothing", () => {}],
  [
    "held to models",
    () => {
      mesh.identity.allowedModels = ["gpt-test"];
    },
  ],
  [
    "held to money",
    () => {
      mesh.identity.spendLimitMicros = 1_000_000n;
      mesh.purse.left = 1_000_000;
    },
  ],
])("a request of a token %s", (_, prepare) => {
  beforeEach(() => prepare());

  it.each(names)("does not say where it goes by %s, wherever that stands", async (name) => {
    const value = steering[name];
    await refusedBy({ [name]: value }, name);
    if (["organization", "deployment_id"].includes(name)) return;
    await refusedBy({ metadata: { [name]: value } }, `metadata.${name}`);
    await refusedBy({ messages: [user, { ...user, [name]: value }] }, `messages[1].${name}`);
    await refusedBy({ tools: [{ ...clientTool, [name]: value }] }, `tools[0].${name}`);
    await refusedBy({ stream_options: { [name]: value } }, `stream_options.${name}`);
    await refusedBy({ fallbacks: [{ model: "gpt-test", [name]: value }] }, `fallbacks[0].${name}`);
  });

  it.each([
    ["another case", "API_BASE"],
    ["camels", "apiBase"],
    ["other separators", "api-base"],
    ["a long s, which some decoders fold", "api_ba\u017fe"],
    ["wide letters", "\uff41pi_base"],
  ])("does not by a name in %s", async (_name, field) => {
    await refusedBy({ [field]: "http://127.0.0.1:1" }, field);
  });

  it("does not by a name that is written with escapes", async () => {
    await refusedBy('{"messages":[{"role":"user","content":"hi"}],"api\\u005fbase":"http://127.0.0.1:1"}', "api_base");
    await refusedBy('{"messages":[{"role":"user","content":"hi"}],"\\u0061pi_base":null}', "api_base");
  });

  it.each(["__proto__", "metadata.__proto__"])("has no prototype: %s", async (place) => {
    const inner = '{"__proto__":{"api_base":"http://127.0.0.1:1","model":"gpt-other"}';
    const messages = '"messages":[{"role":"user","content":"hi"}]';
    await refusedBy(place === "__proto__" ? `${inner},${messages}}` : `{"metadata":${inner}},${messages}}`, place);
  });

  it("may have such names where they are a tool's own, or words", async () => {
    const parameters = {
      type: "object",
      properties: { api_key: { type: "string", default: { api_base: "x" } }, headers: { type: "object" } },
      default: { api_key: "" },
    };
    const body = {
      model: "gpt-test",
      tools: [{ type: "function", function: { name: "call_api", parameters } }],
      metadata: { organization: "us", project: "api_base" },
      response_format: { type: "json_schema", json_schema: { name: "s", schema: parameters } },
    };
    mesh.model.reply({ text: "hello" });
    await complete(body);
    expect(sent(0)).toMatchObject(body);
  });

  it("is sent as it was read, whatever stands in it twice", async () => {
    const twice = [
      '"metadata":{"api_base":"http://127.0.0.1:1"},"metadata":{"a":"b: c"}',
      '"metadata":{"a":"b"},"metadata":{"x":"1"},"\\u006detadata":{"a":"c"}',
      '"user":"a","user":"b"',
    ];
    for (const [index, fields] of twice.entries()) {
      mesh.model.reply({ text: "hello" });
      await complete(`{"model":"gpt-test",${fields},"messages":[{"role":"user","content":"hi: \\"you\\""}]}`);
      const request = mesh.model.requests[index]?.bytes.toString() ?? "";
      expect(request).not.toContain("api_base");
      for (const field of ["metadata", "user"])
        expect(request.split(`"${field}":`).length).toBeLessThanOrEqual(2 + Number(field === "user"));
    }
  });
});

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
])("a request of a token held to %s", (bounds, prepare) => {
  beforeEach(() => prepare());

  it.each(Object.keys(foreign))("has no field beyond OpenAI's: %s", async (name) => {
    await refusedBy({ model: "gpt-test", [name]: foreign[name] }, name);
  });

  it.each([
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
  ])("has nothing beyond OpenAI's in depth: %s", async (param, body) => {
    const error = await failureOf(complete({ model: "gpt-test", ...body }));
    expect(error.reason).toBe(ErrorReason.INVALID_REQUEST);
    expect(error.param).toBe(param);
    expect(mesh.model.requests).toHaveLength(0);
  });

  it("may have all of OpenAI's", async () => {
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

  it.each([
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
  ])("has nothing that costs more than its price says, if it is held to money: %s", async (_, param, body) => {
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

  it.each([
    "openai/gpt-test",
    "azure/gpt-test",
    " gpt-test",
    "gpt-test ",
    "GPT-TEST",
    "gpt-test:online",
    "gpt-test,gpt-other",
    "gpt-test\u0000",
  ])("names no other model by an alias of its own: %j", async (model) => {
    const { reason, param } = await failureOf(complete({ model }));
    expect(param).toBe("model");
    const refused = bounds === "money" ? ErrorReason.SPEND_LIMIT : ErrorReason.MODEL_NOT_ALLOWED;
    expect(reason).toBe(isModelName(model) ? refused : ErrorReason.INVALID_REQUEST);
    expect(mesh.model.requests).toHaveLength(0);
  });
});

function partOf(part: object) {
  return { role: "user", content: [part] };
}

function imageOf(image: object) {
  return partOf({ type: "image_url", image_url: image });
}

test("the operator lets fields through by name, for everybody", async () => {
  const open = await startOrchestrator({ LLM_EXTRA_FIELDS: "top_k, provider,api_version" });
  try {
    const body = {
      model: "gpt-test",
      tool_choice: "none",
      top_k: 5,
      provider: { order: ["a"], api_base: "x" },
      api_version: "v",
    };
    for (const allowedModels of [[], ["gpt-test"]]) {
      open.identity.allowedModels = allowedModels;
      open.model.reply({ text: "hello" });
      await open.completions.complete({ body: bytesOf(body) }, { headers: { "x-internal-token": "t" } });
    }
    expect(open.model.requests.map((request) => request.body)).toMatchObject([
      { top_k: 5, api_version: "v" },
      { top_k: 5, api_version: "v" },
    ]);
  } finally {
    await open.close();
  }
});

describe("LiteLLM's advisories, on the way to an endpoint that would still have the fault", () => {
  it("CVE-2024-6587: api_base sends the operator's key to no address of the client's", async () => {
    await refusedBy({ api_base: "http://127.0.0.1:1/v1" }, "api_base");
    await refusedBy({ base_url: "http://127.0.0.1:1/v1" }, "base_url");
  });

  it("CVE-2024-6587, in what is merged into the request later", async () => {
    await refusedBy({ extra_body: { api_base: "http://127.0.0.1:1/v1" } }, "extra_body");
    await refusedBy({ fallbacks: [{ model: "a", api_base: "http://127.0.0.1:1" }] }, "fallbacks[0].api_base");
  });
});

interface Written {
  readonly text: string;
  readonly members: number;
  /** Some member is there twice, or its name has escapes. */
  readonly isOdd: boolean;
}

/** Objects as clients may write them. */
const written = fc.letrec<{ leaf: Written; value: Written; object: Written; list: Written }>((tie) => ({
  leaf: fc
    .oneof(fc.string(), fc.constantFrom('":', '\\":"', "::", "a: b"), fc.integer())
    .map((value) => ({ text: JSON.stringify(value), members: 0, isOdd: false })),
  value: fc.oneof({ depthSize: "small" }, tie("leaf"), tie("object"), tie("list")),
  object: fc
    .array(fc.tuple(fc.constantFrom("a", "b", "c: d", "é", "x", '"'), tie("value"), fc.constantFrom("", " ", "\n")), {
      maxLength: 4,
    })
    .map((members) => ({
      text: `{${members.map(([name, value, space]) => `${JSON.stringify(name)}${space}:${space}${value.text}`).join(",")}}`,
      members: members.reduce((sum, [, value]) => sum + 1 + value.members, 0),
      isOdd:
        new Set(members.map(([name]) => name)).size < members.length ||
        members.some(([name, value]) => name === '"' || value.isOdd),
    })),
  list: fc.array(tie("value"), { maxLength: 3 }).map((items) => ({
    text: `[${items.map((item) => item.text).join(",")}]`,
    members: items.reduce((sum, item) => sum + item.members, 0),
    isOdd: items.some((item) => item.isOdd),
  })),
})).object;

test("a body is called ambiguous exactly when it has a member twice, a name with escapes, or is no UTF-8", () => {
  const seen = { odd: 0, plain: 0 };
  fc.assert(
    fc.property(written, ({ text, members, isOdd }) => {
      const read = refuseSteering(JSON.parse(text), new Set());
      if (!isOdd) expect(read).toBe(members);
      expect(isAmbiguous(Buffer.from(text), text, read)).toBe(isOdd);
      seen[isOdd ? "odd" : "plain"] += 1;
    }),
    { numRuns: 1_000 },
  );
  expect(Math.min(seen.odd, seen.plain)).toBeGreaterThan(50);
  const cut = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
  expect(isAmbiguous(cut, cut.toString(), 1)).toBe(true);
});

test("a name that the engine takes for another one does not reach the endpoint as what it is", async () => {
  const messages = '"messages":[{"role":"user","content":"hi"}]';
  // A field that no other test has stands before it: the engine then expects after it what stood there the last time.
  const bodyWith = (name: string) => `{"only_here":1,"${name}":"http://127.0.0.1:1",${messages}}`;
  mesh.model.reply({ text: "hello" }, { text: "hello" }, { text: "hello" });
  for (let round = 0; round < 2; round++) await complete(bodyWith("api\\\\u005"));
  const failure = await complete(bodyWith("api\\u005fbase")).then(
    () => undefined,
    () => "refused",
  );
  for (const request of mesh.model.requests) expect(request.bytes.toString()).not.toContain("api\\u005fbase");
  expect(mesh.model.requests.length + Number(failure !== undefined)).toBe(3);
});
