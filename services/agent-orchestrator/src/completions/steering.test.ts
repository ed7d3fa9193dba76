import { beforeEach, describe, expect, test } from "vitest";
import { bytesOf, clientTool, complete, expectRefused, sent, user } from "../../testing/completion.ts";
import { startOrchestrator } from "../../testing/orchestrator.ts";
import { mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator({ MODEL_PRICES: '{"gpt-test":{"input":1,"output":10}}' });

/** Fields by which a request could choose its target, its key or other receivers. */
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

describe.each([
  ["without limits", () => {}],
  [
    "limited to models",
    () => {
      mesh.identity.allowedModels = ["gpt-test"];
    },
  ],
  [
    "limited to money",
    () => {
      mesh.identity.spendLimitMicros = 1_000_000n;
      mesh.purse.left = 1_000_000;
    },
  ],
])("a request of a token %s", (_, prepare) => {
  beforeEach(() => prepare());

  test.each(names)("cannot choose its target by %s, at any place", async (name) => {
    const value = steering[name];
    await expectRefused({ [name]: value }, name);
    if (["organization", "deployment_id"].includes(name)) return;
    await expectRefused({ metadata: { [name]: value } }, `metadata.${name}`);
    await expectRefused({ messages: [user, { ...user, [name]: value }] }, `messages[1].${name}`);
    await expectRefused({ tools: [{ ...clientTool, [name]: value }] }, `tools[0].${name}`);
    await expectRefused({ stream_options: { [name]: value } }, `stream_options.${name}`);
    await expectRefused({ fallbacks: [{ model: "gpt-test", [name]: value }] }, `fallbacks[0].${name}`);
  });

  test.each([
    ["another case", "API_BASE"],
    ["camel case", "apiBase"],
    ["other separators", "api-base"],
    ["a long s, which some decoders fold to s", "api_ba\u017fe"],
    ["wide letters", "\uff41pi_base"],
  ])("cannot choose its target by a name in %s", async (_name, field) => {
    await expectRefused({ [field]: "http://127.0.0.1:1" }, field);
  });

  test("cannot choose its target by a name that is written with escapes", async () => {
    await expectRefused('{"messages":[{"role":"user","content":"hi"}],"api\\u005fbase":"http://127.0.0.1:1"}', "api_base");
    await expectRefused('{"messages":[{"role":"user","content":"hi"}],"\\u0061pi_base":null}', "api_base");
  });

  test.each(["__proto__", "metadata.__proto__"])("has no prototype: %s", async (place) => {
    const inner = '{"__proto__":{"api_base":"http://127.0.0.1:1","model":"gpt-other"}';
    const messages = '"messages":[{"role":"user","content":"hi"}]';
    await expectRefused(place === "__proto__" ? `${inner},${messages}}` : `{"metadata":${inner}},${messages}}`, place);
  });

  test("may have such names in a tool's own schema and as values", async () => {
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

  test("is sent as it was read, even with repeated fields", async () => {
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

test("the operator allows fields by name, for every token", async () => {
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

describe("LiteLLM's advisories, for an endpoint that still has the fault", () => {
  test("CVE-2024-6587: api_base does not send the operator's key to a client's address", async () => {
    await expectRefused({ api_base: "http://127.0.0.1:1/v1" }, "api_base");
    await expectRefused({ base_url: "http://127.0.0.1:1/v1" }, "base_url");
  });

  test("CVE-2024-6587, in fields that are merged into the request later", async () => {
    await expectRefused({ extra_body: { api_base: "http://127.0.0.1:1/v1" } }, "extra_body");
    await expectRefused({ fallbacks: [{ model: "a", api_base: "http://127.0.0.1:1" }] }, "fallbacks[0].api_base");
  });
});

test("a name that the engine takes for another one does not reach the endpoint as written", async () => {
  const messages = '"messages":[{"role":"user","content":"hi"}]';
  // Preceded by a field that no other test has, after which the engine expects the name that followed it the last time.
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
