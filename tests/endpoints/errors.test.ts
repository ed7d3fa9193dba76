import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { System } from "../e2e/system.ts";
import {
  chunk,
  completion,
  framesOf,
  refuses,
  type ScriptedEndpoint,
  type Sent,
  says,
  startScriptedEndpoint,
  usageChunk,
} from "./scripted-endpoint.ts";
import { startAt } from "./stage.ts";
import { newUser, type Outcome, surfaces, type User } from "./user.ts";

let endpoint: ScriptedEndpoint;
let system: System;
let user: User;
beforeAll(async () => {
  endpoint = await startScriptedEndpoint();
  system = await startAt(endpoint.url, { LLM_TIMEOUT: "2s" });
  user = await newUser(system.baseUrl);
});
afterAll(async () => {
  await system.stop();
  await endpoint.close();
});
let made = 0;
/** A model's name of its own for each test: an open breaker of one test is none of another. */
let model: string;
beforeEach(() => {
  model = `mock-${++made}`;
});

/** Asks on all surfaces at once; each message is one of its own. */
function onEach(): Promise<(Outcome & { tries: number })[]> {
  return Promise.all(
    surfaces.map(async (surface) => {
      const message = `question ${++made}`;
      const outcome = await user.ask(surface, message, model, { timeoutMs: 15_000 });
      return { ...outcome, tries: endpoint.about(message).length };
    }),
  );
}
const words = "WORDS of the endpoint";

describe("the endpoint's words reach the caller", () => {
  const bodies: readonly [string, Sent, { status: number; code?: string; param?: string }][] = [
    [
      "OpenAI",
      refuses(400, { message: words, param: "messages", code: "context_length_exceeded" }),
      { status: 400, code: "context_length_exceeded", param: "messages" },
    ],
    [
      "OpenAI, another code",
      refuses(400, { message: words, param: "seed", code: "unsupported_value" }),
      { status: 400, code: "unsupported_value", param: "seed" },
    ],
    ["Gemini", { status: 400, json: [{ error: { code: 400, message: words, status: "INVALID_ARGUMENT" } }] }, { status: 400 }],
    [
      "older vLLM",
      { status: 400, json: { object: "error", message: words, type: "BadRequestError", param: null, code: 400 } },
      { status: 400 },
    ],
    ["FastAPI", { status: 422, json: { detail: words } }, { status: 422 }],
    [
      "FastAPI, a list",
      { status: 422, json: { detail: [{ loc: ["body", "seed"], msg: words, type: "value_error" }] } },
      { status: 422 },
    ],
    [
      "Mistral",
      { status: 422, json: { object: "error", message: { detail: [{ msg: words }] }, type: "invalid_request_error" } },
      { status: 422 },
    ],
    [
      "Anthropic",
      { status: 400, json: { type: "error", error: { type: "invalid_request_error", message: words } } },
      { status: 400 },
    ],
    ["Ollama", { status: 404, json: { error: `model "x" not found, ${words}` } }, { status: 404, code: "model_not_found" }],
    ["OpenAI, no model", refuses(404, { message: words, code: "model_not_found" }), { status: 404, code: "model_not_found" }],
    ["no credit", { status: 402, json: { error: { message: words, code: 402 } } }, { status: 429, code: "insufficient_quota" }],
    [
      "no quota",
      refuses(429, { message: words, type: "insufficient_quota", code: "insufficient_quota" }),
      { status: 429, code: "insufficient_quota" },
    ],
    [
      "compressed",
      {
        status: 400,
        headers: { "content-type": "application/json", "content-encoding": "gzip" },
        raw: gzipSync(JSON.stringify({ error: { message: words } })),
      },
      { status: 400 },
    ],
  ];
  test.each(bodies)("from a body in the form of %s", async (_form, sent, expected) => {
    endpoint.script = () => sent;
    for (const outcome of await onEach()) {
      expect(outcome).toMatchObject({ status: expected.status, isWhole: false });
      expect(outcome.error?.message).toContain(words);
      if (outcome.surface === "stored") continue;
      const { error } = JSON.parse(outcome.raw);
      if (expected.code !== undefined) expect(error.code).toBe(expected.code);
      if (expected.param !== undefined) expect(error.param).toBe(expected.param);
    }
  });

  test("without markup, and without what it says about our key", async () => {
    endpoint.script = () => ({
      status: 413,
      headers: { "content-type": "text/html" },
      raw: "<html><title>413 Too Large</title></html>",
    });
    for (const { error, status } of await onEach()) {
      expect(status).toBeLessThan(500);
      expect(error?.message).not.toContain("<");
    }
    endpoint.script = () => refuses(401, { message: "Incorrect API key provided: sk-endpoint" });
    for (const { raw, status } of await onEach()) {
      expect(status).toBe(502);
      expect(raw).not.toContain("sk-endpoint");
    }
  });

  test.each([502, 529])("a status %i is tried again at most twice", async (status) => {
    endpoint.script = () => ({ status, headers: { "content-type": "text/html" }, raw: "<html><h1>Bad</h1></html>" });
    for (const outcome of await onEach()) {
      expect(outcome.status).toBeGreaterThanOrEqual(500);
      expect(outcome.tries).toBeLessThanOrEqual(3);
    }
  });
});

describe("an error in an answer of status 200", () => {
  const upstream = { message: "Rate limit exceeded upstream", code: 429 };
  const half = chunk({ role: "assistant", content: "Half an answer" });
  test("on each surface, with the text before it", async () => {
    endpoint.script = ({ stream }) =>
      stream
        ? {
            events: [
              half,
              { ...chunk({}), choices: [{ index: 0, delta: { content: "" }, finish_reason: "error", error: upstream }] },
            ],
          }
        : {
            json: {
              ...completion({}),
              choices: [{ index: 0, message: { role: "assistant", content: "" }, finish_reason: "error", error: upstream }],
            },
          };
    const [whole, stream, stored] = await onEach();
    for (const outcome of [whole, stream, stored]) {
      expect(outcome?.isWhole).toBe(false);
      expect(outcome?.error?.message).toContain(upstream.message);
    }
    expect(stream?.text).toBe("Half an answer");
    const { json } = await user.call("GET", `/v1/conversations/${await user.newestConversation()}`);
    expect(json.data.messages.map(({ role }: { role: string }) => role)).not.toContain("assistant");
  });

  test("that comes alone keeps its identity", async () => {
    endpoint.script = () => ({ json: { error: { ...upstream, type: "rate_limit_error" }, user_id: "u" } });
    for (const outcome of await onEach()) {
      expect(outcome.status).toBe(429);
      expect(outcome.error?.message).toContain(upstream.message);
    }
  });

  test.each([
    ["a name", 'event: error\ndata: {"code":"503","message":"overloaded"}\n\n'],
    ["a field", 'data: {"error":{"message":"overloaded"}}\n\n'],
    ["a detail", 'data: {"detail":"overloaded"}\n\n'],
  ])("that an event has as %s", async (_name, event) => {
    endpoint.script = () => ({ events: [event], isDoneSent: false });
    for (const outcome of await onEach()) {
      expect(outcome.isWhole).toBe(false);
      expect(outcome.error?.message).toContain("overloaded");
    }
  });
});

describe("Retry-After", () => {
  const after = (headers: () => Record<string, string>) => {
    let isFirst = true;
    endpoint.script = (body) => {
      if (!isFirst) return says(body, "ok");
      isFirst = false;
      return refuses(429, { message: "slow down" }, headers());
    };
  };
  test.each([
    ["seconds", () => ({ "retry-after": "1" }), 1_000],
    ["a date", () => ({ "retry-after": new Date(Date.now() + 2_000).toUTCString() }), 1_000],
    ["milliseconds", () => ({ "retry-after-ms": "1200" }), 1_200],
  ])("is waited for: %s", async (_form, headers, leastMs) => {
    after(headers);
    const message = `question ${++made}`;
    expect(await user.ask("completion", message, model)).toMatchObject({ status: 200, text: "ok" });
    const [first, second] = endpoint.about(message);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(leastMs - 50);
  });

  test.each([
    ["seconds", () => ({ "retry-after": "60" })],
    ["a date", () => ({ "retry-after": new Date(Date.now() + 60_000).toUTCString() })],
    ["milliseconds", () => ({ "retry-after-ms": "60000" })],
  ])("of a minute is told to the caller: %s", async (_form, headers) => {
    after(headers);
    const message = `question ${++made}`;
    const outcome = await user.ask("completion", message, model);
    expect(outcome.status).toBe(429);
    expect(Number(outcome.retryAfter)).toBeGreaterThan(50);
    expect(Number(outcome.retryAfter)).toBeLessThanOrEqual(61);
    expect(endpoint.about(message)).toHaveLength(1);
  });
});

describe("an endpoint with rules of its own", () => {
  test.each(["gpt-5-mini", "o4-mini"])("gets no max_tokens and no temperature that nobody set: %s", async (name) => {
    endpoint.script = (body) => {
      if ("max_tokens" in body)
        return refuses(400, {
          message: "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
          param: "max_tokens",
          code: "unsupported_parameter",
        });
      if ("temperature" in body && body.temperature !== 1)
        return refuses(400, {
          message: "Unsupported value: 'temperature' does not support 0.7 with this model.",
          param: "temperature",
          code: "unsupported_value",
        });
      return says(body, "hello");
    };
    expect(await user.ask("stored", `question ${++made}`, name)).toMatchObject({ status: 201, text: "hello" });
  });

  test("gets no stream_options once it has refused them", async () => {
    endpoint.script = (body) =>
      body.stream_options == null
        ? says(body, "hello")
        : {
            status: 422,
            json: {
              object: "error",
              message: {
                detail: [
                  {
                    type: "extra_forbidden",
                    loc: ["body", "stream_options", "include_usage"],
                    msg: "Extra inputs are not permitted",
                  },
                ],
              },
              type: "invalid_request_error",
            },
          };
    for (const outcome of await onEach()) expect(outcome).toMatchObject({ text: "hello", isWhole: true });
    expect((await onEach()).map(({ tries }) => tries)).toEqual([1, 1, 1]);
  });

  test.each([
    ["json_object", { response_format: { type: "json_object" } }],
    ["json_schema", { response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "object" } } } }],
    ["json_object, no tools", { response_format: { type: "json_object" }, tool_choice: "none" }],
    ["json_object, tools []", { response_format: { type: "json_object" }, tools: [] }],
  ])("gets no tools of the server with %s", async (_name, more) => {
    endpoint.script = (body) =>
      body.tools && body.response_format
        ? {
            status: 400,
            json: [
              {
                error: {
                  code: 400,
                  message: "Function calling with a response mime type is unsupported",
                  status: "INVALID_ARGUMENT",
                },
              },
            ],
          }
        : says(body, '{"a":1}');
    for (const stream of [false, true]) {
      const answered = await user.chat({ model, stream, ...more });
      expect([answered.status, answered.text.includes('{\\"a\\":1}')]).toEqual([200, true]);
    }
  });
});

describe("an answer that stays away", () => {
  test("is an error within the timeout, and one try", async () => {
    endpoint.script = () => undefined;
    for (const outcome of await onEach()) {
      expect(outcome).toMatchObject({ status: 502, isWhole: false, tries: 1 });
      expect(outcome.ms).toBeLessThan(5_000);
    }
  });

  test("after its first words is an error, and one try", async () => {
    endpoint.script = ({ stream }, response) => {
      response.writeHead(200, { "content-type": stream ? "text/event-stream" : "application/json" });
      response.write(stream ? framesOf([chunk({ content: "hel" })], false) : '{"choices":[{"index":0,"mess');
      return undefined;
    };
    for (const outcome of await onEach()) {
      expect(outcome).toMatchObject({ isWhole: false, tries: 1, error: { code: expect.any(String) } });
      expect(outcome.ms).toBeLessThan(6_000);
    }
  });

  test("behind [DONE] is none", async () => {
    endpoint.script = (body, response) => {
      if (!body.stream) return says(body, "hello");
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(framesOf([chunk({ role: "assistant", content: "hello" }), chunk({}, "stop"), usageChunk()]));
      return undefined;
    };
    for (const outcome of await onEach()) {
      expect(outcome).toMatchObject({ text: "hello", isWhole: true });
      expect(outcome.ms).toBeLessThan(1_500);
    }
  });
});
