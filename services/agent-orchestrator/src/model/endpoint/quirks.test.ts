import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { type ScriptedModel, type ScriptedReply, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ModelClient } from "../model-client.ts";
import { createHttpModel } from "./http-model.ts";
import { Quirks } from "./quirks.ts";

const forever = new AbortController().signal;
const extra = (field: string, ...inside: string[]) => ({
  object: "error",
  message: {
    detail: [{ type: "extra_forbidden", loc: ["body", field, ...inside], msg: "Extra inputs are not permitted" }],
  },
});
const unsupported = (field: string, instead: string) => ({
  error: {
    message: `Unsupported parameter: '${field}' is not supported with this model. Use '${instead}' instead.`,
    param: field,
    code: "unsupported_parameter",
  },
});

let endpoint: ScriptedModel;
let client: ModelClient;
let refuse: (body: Record<string, unknown>) => { status: number; body: unknown } | undefined;

beforeEach(async () => {
  endpoint = await startScriptedModel({
    answer: ({ body }): ScriptedReply => {
      const refusal = refuse(body);
      return refusal === undefined ? { text: "hello" } : { status: refusal.status, raw: [JSON.stringify(refusal.body)] };
    },
  });
  client = createHttpModel({ baseUrl: endpoint.url, timeoutMs: 5_000, connections: 4, retryDelayMs: 1 });
});

afterEach(async () => {
  await client.close();
  await endpoint.close();
});

const ask = (text: string) => client.complete(Buffer.from(text), forever);
const sent = () => endpoint.requests.map(({ bytes }) => bytes.toString());

test.each([
  ["a list of faults", 422, extra("stream_options", "include_usage")],
  ["a sentence", 400, { error: { message: "Unrecognized request argument supplied: stream_options" } }],
  ["a parameter", 400, unsupported("stream_options", "nothing")],
])("stream_options refused by %s are left out, and stay so for the model", async (_name, status, body) => {
  refuse = (request) => ("stream_options" in request ? { status, body } : undefined);
  const text = '{"model":"m","messages":[],"seed":9007199254740993,"stream_options":{"include_usage":true}}';
  const short = '{"model":"m","messages":[],"seed":9007199254740993}';
  await ask(text);
  await ask(text);
  expect(sent()).toEqual([text, short, short]);
  await ask(text.replace('"m"', '"other"'));
  expect(sent()).toHaveLength(5);
});

test("max_tokens is renamed for a model that wants max_completion_tokens", async () => {
  refuse = (body) =>
    "max_tokens" in body ? { status: 400, body: unsupported("max_tokens", "max_completion_tokens") } : undefined;
  await ask('{"model":"o4","max_tokens":7,"messages":[]}');
  await ask('{"model":"o4","max_tokens":8,"messages":[]}');
  expect(sent().slice(1)).toEqual([
    '{"model":"o4","max_completion_tokens":7,"messages":[]}',
    '{"model":"o4","max_completion_tokens":8,"messages":[]}',
  ]);
});

test("max_completion_tokens is renamed for an endpoint that does not know it", async () => {
  refuse = (body) => ("max_completion_tokens" in body ? { status: 422, body: extra("max_completion_tokens") } : undefined);
  await ask('{"model":"m","max_completion_tokens":7,"messages":[]}');
  expect(sent()[1]).toBe('{"model":"m","max_tokens":7,"messages":[]}');
});

test("two peculiarities of one model are both learned", async () => {
  refuse = (body) => {
    if ("stream_options" in body) return { status: 422, body: extra("stream_options") };
    return "max_tokens" in body ? { status: 400, body: unsupported("max_tokens", "max_completion_tokens") } : undefined;
  };
  const text = '{"model":"m","max_tokens":7,"stream_options":{}}';
  await ask(text);
  await ask(text);
  expect(sent().slice(2)).toEqual(['{"model":"m","max_completion_tokens":7}', '{"model":"m","max_completion_tokens":7}']);
});

test.each([
  ["a value of its own", { error: { message: "max_tokens must be at least 1", param: "max_tokens" } }],
  ["a field of its own", { error: { message: "Unsupported value: 'temperature' does not support 0.7", param: "temperature" } }],
  [
    "another field beside a known one",
    { error: { message: "logit_bias is not supported, unlike stream_options", param: "logit_bias" } },
  ],
])("a client's error stays the client's: %s", async (_name, body) => {
  refuse = () => ({ status: 400, body });
  const failed = await ask('{"model":"m","max_tokens":0,"temperature":0.7,"stream_options":{}}').catch(reasonOf);
  expect(failed).toBe(ErrorReason.MODEL_REJECTED);
  expect(endpoint.requests).toHaveLength(1);
});

test("an endpoint that refuses either name is asked twice", async () => {
  refuse = (body) =>
    "max_tokens" in body
      ? { status: 400, body: unsupported("max_tokens", "max_completion_tokens") }
      : { status: 400, body: unsupported("max_completion_tokens", "max_tokens") };
  expect(await ask('{"model":"m","max_tokens":7}').catch(reasonOf)).toBe(ErrorReason.MODEL_REJECTED);
  expect(endpoint.requests).toHaveLength(2);
});

test("a refusal that was the client's fault teaches nothing", async () => {
  refuse = () => ({ status: 400, body: { error: { message: "'stream_options' is no supported colour" } } });
  const text = '{"model":"m","stream_options":{},"colour":"stream_options"}';
  expect(await ask(text).catch(reasonOf)).toBe(ErrorReason.MODEL_REJECTED);
  refuse = () => undefined;
  await ask(text);
  expect(sent().at(-1)).toBe(text);
});

test("an endpoint that has changed its mind is believed", async () => {
  refuse = (body) =>
    "max_tokens" in body ? { status: 400, body: unsupported("max_tokens", "max_completion_tokens") } : undefined;
  const text = '{"model":"m","max_tokens":7}';
  await ask(text);
  refuse = (body) => ("max_completion_tokens" in body ? { status: 422, body: extra("max_completion_tokens") } : undefined);
  for (let call = 0; call < 3; call++) await ask(text);
  expect(sent().slice(-2)).toEqual([text, text]);
});

test("a lesson is forgotten after an hour", () => {
  let now = 0;
  const quirks = new Quirks(() => now);
  const body = Buffer.from('{"model":"m","stream_options":{}}');
  const changes = quirks.changesFor(body, 422, JSON.stringify(extra("stream_options"))) ?? {};
  expect(quirks.applied(body)).toBe(body);
  quirks.keep(body, changes);
  expect(String(quirks.applied(body))).toBe('{"model":"m"}');
  now = 3_600_001;
  expect(quirks.applied(body)).toBe(body);
});
