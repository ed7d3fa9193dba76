import { once } from "node:events";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { CompletionService, ServerTools, StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { alice, aliceKey, type Fixture, fakeTokens, startFixture } from "../../testing/gateway.ts";
import { silentStream } from "../../testing/silent-stream.ts";

type Completions = ServiceImpl<typeof CompletionService>;

const bytes = (text: string) => new TextEncoder().encode(text);
const frame = (text: string) => `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;

let complete: Completions["complete"];
let streamComplete: Completions["streamComplete"];
/** The body that the service received. */
let received: string;
let format: StreamFormat | undefined;
let serverTools: ServerTools | undefined;

const served = mount(CompletionService, {
  complete(request, context) {
    received = Buffer.from(request.body).toString();
    serverTools = request.serverTools;
    return complete(request, context);
  },
  streamComplete(request, context) {
    received = Buffer.from(request.body).toString();
    format = request.format;
    serverTools = request.serverTools;
    return streamComplete(request, context);
  },
  listModels: () => ({
    object: "list",
    data: [
      { id: "gpt-4o-mini", object: "model", created: 7, ownedBy: "openai" },
      { id: "meta/llama-3", object: "model", created: 8, ownedBy: "meta" },
    ],
  }),
});

let gateway: Fixture;
beforeAll(async () => {
  const tokens = fakeTokens();
  // These tests send more requests than Alice may.
  tokens.known.set(aliceKey, { ...alice, rateLimitPerMinute: 10_000 });
  gateway = await startFixture({ mounts: [served], tokens, env: { SSE_HEARTBEAT: "40ms" } });
});
afterAll(() => gateway.close());

beforeEach(() => {
  format = undefined;
  complete = () => ({ body: bytes('{"id":"chatcmpl-1", "object":"chat.completion"}') });
  streamComplete = async function* () {
    yield { frames: bytes(frame("Once") + frame(" upon")) };
    yield { frames: bytes("data: [DONE]\n\n") };
  };
});

const chat = (body: string, init: RequestInit & { headers?: Record<string, string> } = {}) =>
  gateway.fetch("/v1/chat/completions", {
    method: "POST",
    body,
    ...init,
    headers: { "content-type": "application/json", ...init.headers },
  });

const question = '{ "model":"gpt-4o-mini", "messages":[{"role":"user","content":"Once?"}], "tomorrow": 1.50 ';

describe("OpenAI's surface", () => {
  test("passes bodies through byte for byte in both directions", async () => {
    const response = await chat(`${question}}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.text()).toBe('{"id":"chatcmpl-1", "object":"chat.completion"}');
    expect(received).toBe(`${question}}`);
  });

  test('streams frames as they are for "stream": true', async () => {
    const response = await chat(`${question}, "stream" : true}`);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    expect(await response.text()).toBe(`${frame("Once")}${frame(" upon")}data: [DONE]\n\n`);
    expect(received).toBe(`${question}, "stream" : true}`);
    expect(format).toBe(StreamFormat.UNSPECIFIED);
  });

  test('does not stream for "stream": false, nor for a message that says "stream"', async () => {
    for (const end of [', "stream": false}', ', "user": "\\"stream\\": true"}', ', "metadata": {"stream": true}}']) {
      expect((await chat(question + end)).headers.get("content-type")).toBe("application/json");
    }
  });

  test("lets the client choose the frames", async () => {
    const formatOf = async (name: string) => {
      await (await chat(`${question}, "stream": true}`, { headers: { "x-stream-format": name } })).text();
      return format;
    };
    expect(await formatOf("openai")).toBe(StreamFormat.OPENAI);
    expect(await formatOf("Seed")).toBe(StreamFormat.SEED);
    const refused = await chat(`${question}, "stream": true}`, { headers: { "x-stream-format": "xml" } });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({ error: { param: "X-Stream-Format", code: "INVALID_REQUEST" } });
  });

  test("lets the client choose the server's tools by a header, streamed or not", async () => {
    const { UNSPECIFIED, ON, OFF } = ServerTools;
    for (const end of ["}", ', "stream": true}']) {
      for (const [value, choice] of Object.entries({ on: ON, OFF, On: ON, "": UNSPECIFIED })) {
        await (await chat(question + end, { headers: { "x-server-tools": value } })).text();
        expect(serverTools).toBe(choice);
      }
      await (await chat(question + end)).text();
      expect(serverTools).toBe(UNSPECIFIED);
      for (const value of ["yes", "true", "1", "on, off", "toString", "__proto__"]) {
        const refused = await chat(question + end, { headers: { "x-server-tools": value } });
        expect(refused.status).toBe(400);
        const { error } = (await refused.json()) as { error: object };
        expect(error).toMatchObject({ param: "X-Server-Tools", message: "X-Server-Tools: expected on or off" });
      }
    }
  });

  test("sends the first frame at once, while the model is still thinking", async () => {
    const release = Promise.withResolvers<void>();
    streamComplete = async function* () {
      yield { frames: bytes(frame("Once")) };
      await release.promise;
      yield { frames: bytes("data: [DONE]\n\n") };
    };
    const response = await chat(`${question}, "stream": true}`);
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(frame("Once"));
    release.resolve();
    reader?.cancel();
  });

  test("keeps a silent stream alive with comments", async () => {
    const release = Promise.withResolvers<void>();
    streamComplete = async function* () {
      await release.promise;
      yield { frames: bytes("data: [DONE]\n\n") };
    };
    const response = await chat(`${question}, "stream": true}`);
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(": ping\n\n");
    release.resolve();
    reader?.cancel();
  });

  test.each([
    ["unary", "}"],
    ["streamed", ', "stream": true}'],
  ])("answers a %s error in OpenAI's form, with its status", async (_kind, end) => {
    const refuse = () => {
      throw fail(ErrorReason.INVALID_REQUEST, "messages[0].role: unknown", { param: "messages[0].role" });
    };
    complete = refuse;
    streamComplete = () => silentStream(refuse);
    const response = await chat(question + end);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      success: false,
      error: {
        message: "messages[0].role: unknown",
        type: "invalid_request_error",
        param: "messages[0].role",
        code: "INVALID_REQUEST",
      },
    });
  });

  test.each<[string, ErrorReason, Parameters<typeof fail>[2], number, object]>([
    ["an unknown model", ErrorReason.MODEL_NOT_FOUND, { param: "model" }, 404, { code: "model_not_found", param: "model" }],
    [
      "a long input",
      ErrorReason.CONTEXT_TOO_LONG,
      { param: "messages" },
      400,
      { code: "context_length_exceeded", param: "messages", type: "invalid_request_error" },
    ],
    ["no quota", ErrorReason.MODEL_QUOTA, {}, 429, { code: "insufficient_quota", type: "insufficient_quota", param: null }],
    ["a rate limit", ErrorReason.MODEL_RATE_LIMITED, { type: "tokens" }, 429, { code: "rate_limit_exceeded", type: "tokens" }],
    ["a wrong value", ErrorReason.MODEL_UNPROCESSABLE, { param: "top_k", code: "extra" }, 422, { code: "extra", param: "top_k" }],
    ["a refusal", ErrorReason.MODEL_REJECTED, { code: "content_filter" }, 400, { code: "content_filter" }],
    ["an overloaded model", ErrorReason.MODEL_FAILED, { type: "overloaded_error" }, 502, { type: "overloaded_error" }],
    ["a large answer", ErrorReason.ANSWER_TOO_LARGE, {}, 502, { code: "answer_too_large" }],
  ])("names %s as the endpoint or OpenAI does, unary and streamed", async (_name, reason, init, status, named) => {
    const refuse = () => {
      throw fail(reason, "The endpoint's words.", init);
    };
    complete = refuse;
    streamComplete = () => silentStream(refuse);
    for (const end of ["}", ', "stream": true}']) {
      const response = await chat(question + end);
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({ error: { message: "The endpoint's words.", ...named } });
    }
    streamComplete = async function* () {
      yield { frames: bytes(frame("Once")) };
      refuse();
    };
    const [first, last] = (await (await chat(`${question}, "stream": true}`)).text()).split("\n\n");
    expect(`${first}\n\n`).toBe(frame("Once"));
    expect(JSON.parse((last ?? "").slice("data: ".length))).toMatchObject({ error: named });
  });

  test("uses OpenAI's code and the model's Retry-After", async () => {
    complete = () => {
      throw fail(ErrorReason.MODEL_RATE_LIMITED, "The model is busy.", { retryAfterSeconds: 3 });
    };
    const response = await chat(`${question}}`);
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("3");
    expect(await response.json()).toMatchObject({ error: { code: "rate_limit_exceeded", type: "rate_limit_error" } });
  });

  test("ends a stream that fails in the middle with the error and without [DONE]", async () => {
    streamComplete = async function* () {
      yield { frames: bytes(frame("Once")) };
      throw fail(ErrorReason.MODEL_FAILED, "The model broke off.");
    };
    const text = await (await chat(`${question}, "stream": true}`)).text();
    const [first, last, ...rest] = text.split("\n\n");
    expect(`${first}\n\n`).toBe(frame("Once"));
    expect(JSON.parse((last ?? "").slice("data: ".length))).toEqual({
      error: { message: "The model broke off.", type: "server_error", param: null, code: "CHAT_ERROR" },
    });
    expect(rest).toEqual([""]);
  });

  test.each([
    ["no body", "", 400, "INVALID_REQUEST"],
    ["broken JSON with a stream", '{"stream": tru', 400, "INVALID_REQUEST"],
  ])("refuses %s", async (_what, body, status, code) => {
    const response = await chat(body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ success: false, error: { code } });
  });

  test("takes paths and media types as clients write them", async () => {
    const ask = (path: string, type: string, headers: Record<string, string> = {}) =>
      gateway.fetch(path, { method: "POST", body: `${question}}`, headers: { "content-type": type, ...headers } });
    const path = "/v1/chat/completions";
    for (const type of ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]) {
      expect((await ask(path, type)).status).toBe(200);
    }
    for (const spelling of [`${path}/`, `${path}?api-version=2024-06-01`]) {
      expect((await ask(spelling, "application/json")).status).toBe(200);
    }
    for (const type of ["application/vnd.api+json", "application/x-www-form-urlencoded", "application/jsonp"]) {
      expect((await ask(path, type)).status).toBe(415);
    }
    const packed = await ask(path, "application/json", { "content-encoding": "gzip" });
    expect(packed.status).toBe(415);
    expect(await packed.json()).toMatchObject({ error: { param: "Content-Encoding" } });
    expect((await ask("/v1//chat/completions", "application/json")).status).toBe(404);
  });

  test("refuses other media types, bodies over the limit and missing credentials", async () => {
    expect((await chat("a=b", { headers: { "content-type": "text/plain" } })).status).toBe(415);
    expect((await chat(`"${"x".repeat(1_048_576)}"`)).status).toBe(413);
    const anonymous = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    expect(anonymous.status).toBe(401);
    expect(await anonymous.json()).toMatchObject({ error: { code: "UNAUTHORIZED", type: "authentication_error" } });
  });

  test.each([
    ["unary", "}"],
    ["streamed", ', "stream": true}'],
  ])("cancels a %s call when the client disconnects before the first byte", async (_kind, end) => {
    const entered = Promise.withResolvers<AbortSignal>();
    const hang = async ({ signal }: HandlerContext) => {
      entered.resolve(signal);
      await once(signal, "abort");
      throw fail(ErrorReason.CANCELLED, "gone");
    };
    complete = (_request, context) => hang(context);
    streamComplete = (_request, context) => silentStream(() => hang(context));
    const client = new AbortController();
    const refused = expect(chat(question + end, { signal: client.signal })).rejects.toThrow();
    const signal = await entered.promise;
    const aborted = once(signal, "abort");
    client.abort();
    await aborted;
    await refused;
  });

  test("lists models and finds one, even with a slash in its name", async () => {
    expect(await (await gateway.fetch("/v1/models")).json()).toMatchObject({
      object: "list",
      data: [{ id: "gpt-4o-mini", object: "model", created: 7, owned_by: "openai" }, { id: "meta/llama-3" }],
    });
    const llama = { id: "meta/llama-3", object: "model", created: 8, owned_by: "meta" };
    expect(await (await gateway.fetch("/v1/models/meta/llama-3")).json()).toEqual(llama);
    expect(await (await gateway.fetch("/v1/models/meta%2Fllama-3")).json()).toEqual(llama);
    const missing = await gateway.fetch("/v1/models/gpt-9");
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: "model_not_found", param: "model" } });
  });
});
