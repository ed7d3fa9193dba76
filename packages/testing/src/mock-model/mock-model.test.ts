import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AskedRequest } from "./asked.ts";
import { listedModels, type MockModel, startMockModel } from "./mock-model.ts";
import { modes, planOf } from "./modes.ts";

const asked: AskedRequest[] = [];
let model: MockModel;
beforeAll(async () => {
  model = await startMockModel({ onAsked: (one) => asked.push(one) });
});
afterAll(() => model.close());

const hi = [{ role: "user", content: "hi" }];
const post = (name: string, more: object = {}, url = model.url) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: name, messages: hi, ...more }),
  });
interface Completion {
  choices: { message: { content: string; tool_calls?: { id: string; function: { name: string; arguments: string } }[] } }[];
  usage: unknown;
  error: { code: string | null; param: string | null; message: string };
}
const whole = async (name: string, more: object = {}) => (await (await post(name, more)).json()) as Completion;
const stream = async (name: string, more: object = {}) => (await post(name, { stream: true, ...more })).text();
/** The text that a client puts together from a stream. */
const said = (sse: string) =>
  [...sse.matchAll(/^data: (\{.*\})$/gm)]
    .map(([, json = ""]) => JSON.parse(json).choices?.[0]?.delta?.content)
    .filter((content) => typeof content === "string")
    .join("");

describe("the mock model", () => {
  test("answers a completion and a stream alike, the same each time", async () => {
    const first = await (await post("mock")).text();
    expect(await (await post("mock")).text()).toBe(first);
    expect(JSON.parse(first)).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { content: "You said: hi" }, finish_reason: "stop" }],
      usage: { completion_tokens: 3 },
    });
    const sse = await stream("mock");
    expect(said(sse)).toBe("You said: hi");
    expect(sse.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  test("counts tokens in a chunk of its own when asked to", async () => {
    expect(await stream("mock")).not.toContain("usage");
    expect(await stream("mock", { stream_options: { include_usage: true } })).toMatch(
      /"choices":\[\],"usage":\{"prompt_tokens":\d+/,
    );
  });

  test("calls a tool and then tells its result", async () => {
    const first = await whole("mock-tool-calculator-calls-2");
    const message = first.choices[0]?.message;
    const calls = message?.tool_calls ?? [];
    expect(calls.map((call) => call.function)).toEqual(Array(2).fill({ name: "calculator", arguments: '{"expression":"2+3"}' }));
    const messages = [...hi, message, ...calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "5" }))];
    const next = await whole("mock-tool-calculator-calls-2", { messages });
    expect(next.choices[0]?.message.content).toBe("The tools said: 5; 5");
  });

  test("takes arguments from the message, or makes an example of the tool's schema", async () => {
    const parameters = {
      type: "object",
      required: ["id", "kind"],
      properties: { id: { type: "integer" }, kind: { enum: ["a"] } },
    };
    const tools = [{ type: "function", function: { name: "f", parameters } }];
    const argumentsOf = async (more: object) =>
      (await whole("mock-tool-f", { tools, ...more })).choices[0]?.message.tool_calls?.[0]?.function.arguments;
    expect(await argumentsOf({})).toBe('{"id":1,"kind":"a"}');
    expect(await argumentsOf({ messages: [{ role: "user", content: '{"id": 9007199254740993}' }] })).toBe(
      '{"id": 9007199254740993}',
    );
  });

  test("obeys a response format", async () => {
    const schema = { type: "object", required: ["n"], properties: { n: { type: "integer", minimum: 7 } } };
    const format = { type: "json_schema", json_schema: { name: "x", schema } };
    expect((await whole("mock", { response_format: format })).choices[0]?.message.content).toBe('{"n":7}');
  });

  test("lists names that it knows", async () => {
    const { data } = (await (await fetch(`${model.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(listedModels());
    expect(data.filter(({ id }) => planOf(id) === undefined)).toEqual([]);
    expect(data.length).toBeGreaterThan(100);
  });

  test("does not know other modes", async () => {
    expect(await whole("mock-typo")).toMatchObject({ error: { code: "model_not_found" } });
    expect(planOf("mock-delay-xms")).toBeUndefined();
    expect(planOf("mock-cut-after-3-drip-5ms-quirk-gzip")).toMatchObject({ cutAfter: 3, dripMs: 5 });
  });
});

describe("a fault of the mock model", () => {
  test("meets the first requests alone", async () => {
    const statuses = [];
    for (let n = 0; n < 3; n++) statuses.push((await post("mock-status-429-retry-after-1-times-2")).status);
    expect(statuses).toEqual([429, 429, 200]);
    expect((await post("mock-status-429-retry-after-1-times-1")).headers.get("retry-after")).toBe("1");
  });

  test.each(["mock-cut-after-3", "mock-cut-at-40", "mock-cut"])("breaks the connection: %s", async (name) => {
    await expect(stream(name)).rejects.toThrow();
    await expect(whole(name)).rejects.toThrow();
  });

  test("ends a stream early", async () => {
    const sse = await stream("mock-end-after-3");
    expect(said(sse)).toBe("You said:");
    expect(sse).not.toContain("[DONE]");
  });

  test.each(["mock-hang", "mock-hang-after-2"])("never ends: %s", async (name) => {
    const left = AbortSignal.timeout(200);
    const answer = fetch(`${model.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: name, messages: hi, stream: true }),
      signal: left,
    }).then((response) => response.text());
    await expect(answer).rejects.toThrow(/abort|timeout/i);
  });

  test("cuts arguments in the first round alone", async () => {
    const bad = await whole("mock-bad-tool-json");
    const message = bad.choices[0]?.message;
    const [call] = message?.tool_calls ?? [];
    expect(() => JSON.parse(call?.function.arguments ?? "")).toThrow();
    const messages = [...hi, message, { role: "tool", tool_call_id: call?.id, content: "no JSON" }];
    const good = (await whole("mock-bad-tool-json", { messages })).choices[0]?.message.tool_calls?.[0]?.function.arguments;
    expect(JSON.parse(good ?? "")).toEqual({ expression: "2+3" });
  });

  test("has the form that the name asks for", async () => {
    const gemini = await (await post("mock-error-context-form-gemini")).json();
    expect(gemini).toMatchObject([{ error: { code: 400, message: expect.stringContaining("8192") } }]);
    expect((await post("mock-status-502-form-html")).headers.get("content-type")).toBe("text/html");
  });
});

describe("a quirk of the mock model", () => {
  const callsOf = (sse: string) =>
    [...sse.matchAll(/^data: (\{.*\})$/gm)].flatMap(([, json = ""]) => JSON.parse(json).choices?.[0]?.delta?.tool_calls ?? []);

  test("changes the calls alone", async () => {
    expect(callsOf(await stream("mock-tool-calculator-calls-2-quirk-same-index"))).toMatchObject([{ index: 0 }, { index: 0 }]);
    const [call] = callsOf(await stream("mock-tool-calculator-quirk-arguments-object"));
    expect(call.function.arguments).toEqual({ expression: "2+3" });
    expect(callsOf(await stream("mock-tool-calculator-quirk-no-index")).every((one: object) => !("index" in one))).toBe(true);
    expect(await stream("mock-quirk-same-index")).toBe(
      await stream("mock").then((text) => text.replaceAll('"mock"', '"mock-quirk-same-index"')),
    );
  });

  test("may be two", async () => {
    const response = await post("mock-quirk-parts-quirk-gzip", { stream: true });
    expect(response.headers.get("content-encoding")).toBe("gzip");
    const text = await response.text();
    expect(text).toContain('"content":[{"type":"text","text":"You"}]');
    expect(() => gunzipSync(Buffer.from(text))).toThrow();
  });

  test("refuses what it refuses", async () => {
    expect((await post("mock-quirk-no-stream-options", { stream: true, stream_options: { include_usage: true } })).status).toBe(
      422,
    );
    expect((await post("mock-quirk-no-max-tokens", { max_tokens: 5 })).status).toBe(400);
    const twice = [...hi, ...hi];
    expect(await (await post("mock-quirk-alternate", { messages: twice })).json()).toMatchObject({ object: "error", code: 400 });
  });
});

describe("the strict mock model", () => {
  test.each([
    ["temperature", { temperature: 3 }],
    ["stream_options", { stream_options: { include_usage: true } }],
    ["server_tools", { server_tools: "on" }],
    ["tools", { tools: [] }],
    ["messages[1].role", { messages: [...hi, { role: "tool", tool_call_id: "c", content: "1" }] }],
    ["messages[1].content", { messages: [...hi, { role: "assistant", content: null }] }],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
    [
      "messages[1].tool_calls[0].function.arguments",
      {
        messages: [
          ...hi,
          { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: {} } }] },
        ],
      },
    ],
    [
      "messages",
      {
        messages: [
          ...hi,
          { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }] },
          ...hi,
        ],
      },
    ],
  ])("refuses an odd %s and names it", async (param, more) => {
    const response = await post("mock-strict", more);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", param } });
  });

  test("accepts what OpenAI accepts", async () => {
    const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } };
    const messages = [
      { role: "developer", content: "d" },
      { role: "user", content: [{ type: "text", text: "x" }], name: "bob" },
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "c", content: [{ type: "text", text: "1" }] },
    ];
    const tools = [{ type: "function", function: { name: "f", parameters: { type: "object", properties: {} }, strict: true } }];
    const more = {
      messages,
      tools,
      tool_choice: "auto",
      parallel_tool_calls: false,
      stream: true,
      stream_options: { include_usage: true },
    };
    expect(await stream("mock-strict", more)).toContain('{"content":" said:"}');
  });

  test("knows no other models, and wants its key", async () => {
    const strict = await startMockModel({ isStrict: true, apiKey: "sk-1" });
    expect((await post("mock", {}, strict.url)).status).toBe(401);
    const response = await fetch(`${strict.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer sk-1" },
      body: JSON.stringify({ model: "gpt-4o-mini", messages: hi }),
    });
    expect([response.status, ((await response.json()) as Completion).error.code]).toEqual([404, "model_not_found"]);
    await strict.close();
  });
});

test("docs/model-server.md has each mode, as the code describes it", () => {
  const document = readFileSync(join(import.meta.dirname, "../../../../docs/model-server.md"), "utf8");
  const rows = [...document.matchAll(/^\| `(?!--)([^`]+)` \| (.*) \|$/gm)].map(([, syntax, about]) => `${syntax}: ${about}`);
  const described = Object.values(modes).flatMap((all) => all.map(({ syntax, about }) => `${syntax}: ${about}`));
  expect(rows.sort()).toEqual(described.sort());
  expect(asked.length).toBeGreaterThan(0);
});
