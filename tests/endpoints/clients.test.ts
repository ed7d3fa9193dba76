import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import { type ScriptedEndpoint, says, startScriptedEndpoint } from "./scripted-endpoint.ts";
import { startAt } from "./stage.ts";
import { newUser, type User } from "./user.ts";

let endpoint: ScriptedEndpoint;
let system: System;
let user: User;
beforeAll(async () => {
  endpoint = await startScriptedEndpoint();
  system = await startAt(endpoint.url, { SERVER_BODY_LIMIT: String(16 * 1024 * 1024) });
  user = await newUser(system.baseUrl);
});
afterAll(async () => {
  await system.stop();
  await endpoint.close();
});

const hi = [{ role: "user", content: "hi" }];
const fn = { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } };

/** Sends a body, and reads what the endpoint got. */
async function sent(body: object | string, headers: Record<string, string> = {}) {
  const before = endpoint.received.length;
  const text = typeof body === "string" ? body : JSON.stringify({ model: "mock", ...body });
  const answered = await user.call("POST", "/v1/chat/completions", text, { headers });
  return { status: answered.status, error: answered.json?.error, body: endpoint.received[before]?.body };
}

describe("a body for a completion", () => {
  test.each([
    [
      "parts of all kinds",
      {
        messages: [
          {
            role: "user",
            content: [
              { type: "text", text: "x" },
              { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
              { type: "input_audio", input_audio: { data: "AA", format: "wav" } },
            ],
          },
        ],
      },
    ],
    [
      "roles of all kinds",
      {
        messages: [
          { role: "developer", content: "d" },
          { role: "user", content: "q", name: "bob" },
          { role: "assistant", content: "", tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "" } }] },
          { role: "tool", tool_call_id: "c", content: [{ type: "text", text: "r" }] },
        ],
      },
    ],
    [
      "null fields",
      { messages: hi, tools: null, tool_choice: null, temperature: null, max_tokens: null, n: null, stream: null, stop: null },
    ],
    ["a choice of a function", { messages: hi, tools: [fn], tool_choice: { type: "function", function: { name: "f" } } }],
    ["several answers", { messages: hi, n: 2, tool_choice: "none" }],
    [
      "fields of newer versions",
      {
        messages: hi,
        store: true,
        metadata: { a: "b" },
        user: "u1",
        service_tier: "auto",
        reasoning_effort: "low",
        seed: 9_007_199_254_740_991,
      },
    ],
  ])("goes on to the endpoint: %s", async (_name, body) => {
    const { status, body: got } = await sent(body);
    expect(status).toBe(200);
    expect(got).toMatchObject({ messages: body.messages });
  });

  test.each([
    ["tools []", { tools: [] }],
    ["tools [] and tool_choice none", { tools: [], tool_choice: "none" }],
    ["tool_choice none", { tool_choice: "none" }],
  ])("with %s gets no tools of the server", async (_name, more) => {
    const { status, body } = await sent({ messages: hi, ...more });
    expect(status).toBe(200);
    expect(body?.tools ?? []).toEqual([]);
  });

  test.each([
    ["max_tokens", { max_tokens: -1 }],
    ["max_tokens", { max_tokens: "5" }],
    ["temperature", { temperature: "0.5" }],
    ["stream", { stream: "true" }],
    ["messages", { messages: {} }],
    ["messages", { messages: [] }],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
    ["messages[0].role", { messages: [{ role: "User", content: "x" }] }],
    ["tool_choice", { tool_choice: "sometimes" }],
  ])("with an odd %s is refused and named", async (param, more) => {
    const { status, error, body } = await sent({ messages: hi, ...more });
    expect([status, error?.param, body]).toEqual([400, param, undefined]);
  });

  const plain = '{"model":"mock","messages":[{"role":"user","content":"hi"}],"tool_choice":"none"}';
  test.each([
    ["spaces around", ` \n${plain}\n\n `, {}],
    ["a charset", plain, { "content-type": "application/json; charset=utf-8" }],
  ])("may have %s", async (_name, text, headers) => {
    expect((await sent(text, headers)).status).toBe(200);
  });

  test.each([
    ["two values", plain + plain, 400],
    ["__proto__", plain.replace('{"model"', '{"__proto__":{"stream":true},"model"'), 400],
    ["another type", plain, 415],
  ])("may not be %s", async (name, text, status) => {
    expect((await sent(text, name === "another type" ? { "content-type": "text/plain" } : {})).status).toBe(status);
  });

  test("that is compressed is refused with words", async () => {
    const response = await fetch(`${system.baseUrl}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: gzipSync(plain),
    });
    expect([401, 415]).toContain(response.status);
  });
});

describe("a body as large as SERVER_BODY_LIMIT allows", () => {
  test.each([700_000, 2_000_000, 5_000_000])("reaches the endpoint: an image of %i characters", async (size) => {
    endpoint.script = (body) => says(body, "seen");
    const content = [
      { type: "text", text: "what is this" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(size)}` } },
    ];
    for (const stream of [false, true]) {
      const answered = await user.chat({ stream, messages: [{ role: "user", content }] });
      expect([answered.status, answered.text.includes("seen")]).toEqual([200, true]);
    }
  });

  test("is refused beyond it with words", async () => {
    const answered = await user.chat({ messages: [{ role: "user", content: "x".repeat(17 * 1024 * 1024) }] });
    expect([answered.status, typeof answered.json.error.message]).toEqual([413, "string"]);
  });

  test("is refused as a message beyond the limit of messages", async () => {
    expect((await user.say("x".repeat(190_000))).status).toBe(201);
    expect((await user.say("x".repeat(300_000))).status).toBe(400);
  });
});

describe("NUL", () => {
  const nul = "a\0b";
  const call = (name: string, id: string, args: string) => ({ id, type: "function", function: { name, arguments: args } });
  test.each<[string, string, string, object?]>([
    ["name", "POST", "/v1/api-keys", { name: nul }],
    ["allowed_tools[0]", "POST", "/v1/api-keys", { name: "k", allowed_tools: [nul] }],
    ["allowed_models[0]", "POST", "/v1/api-keys", { name: "k", allowed_models: [nul] }],
    ["description", "POST", "/v1/webhooks", { url: "https://example.com/x", events: ["run.completed"], description: nul }],
    ["message", "POST", "/v1/conversations", { message: nul }],
    ["agent_type", "POST", "/v1/conversations", { message: "x", agent_type: nul }],
    ["model", "POST", "/v1/conversations", { message: "x", model: nul }],
    ["message", "POST", "/v1/runs", { message: nul }],
    ["model", "POST", "/v1/chat/completions", { model: nul, messages: hi }],
    ["call.function.name", "POST", "/v1/tools/execute", call(nul, "c", "{}")],
    ["call.id", "POST", "/v1/tools/execute", call("calculator", nul, '{"expression":"1"}')],
    ["cursor", "GET", "/v1/conversations?cursor=%00"],
    ["status", "GET", "/v1/approvals?status=%00"],
    ["status", "GET", "/v1/runs?status=%00"],
    ["conversation_id", "GET", "/v1/conversations/%00"],
    ["current_password", "POST", "/v1/auth/password", { current_password: nul, new_password: "SecurePass1234" }],
  ])("in %s of %s %s is the client's mistake", async (param, method, path, body) => {
    const answered = await user.call(method, path, body);
    expect([answered.status, answered.json.error.param]).toEqual([400, param]);
  });

  test.each(["/v1/models/%00", "/v1/usage?from=%00", "/v1/usage?model=%00"])("in %s is no fault of ours", async (path) => {
    expect((await user.call("GET", path)).status).toBeLessThan(500);
  });
});
