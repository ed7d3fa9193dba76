import { type ScriptedCall, type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import type { System } from "./system.ts";

let model: ScriptedModel;
let system: System;
let token: string | undefined;
/** Requests to the model before the current test. */
let before: number;

beforeAll(async () => {
  model = await startScriptedModel();
  system = await startAllInOne({ LLM_BASE_URL: model.url, LLM_CONTEXT_WINDOW: "4000000" });
  const account = { email: "refused@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "R" });
  token = (await call("POST", "/v1/auth/login", account)).body.data.access_token;
}, 120_000);
afterAll(async () => {
  await system?.stop();
  await model?.close();
});
beforeEach(() => {
  before = model.requests.length;
});

const call = jsonCaller(
  () => system.baseUrl,
  () => token,
);

const one = (name: string, args = "{}", id = "call_1"): ScriptedCall[] => [{ id, name, arguments: args }];
const fill = (length: number) => `{"expression":"${"1".repeat(length)}"}`;

/** Calls that models were seen to make. */
const badCalls: Record<string, ScriptedCall[]> = {
  "an empty name": one("", '{"expression":"2+3"}'),
  "a name of blanks": one("   "),
  "a name of 150 characters": one("x".repeat(150)),
  "a name of 250 characters": one("y".repeat(250)),
  "a name of 300 KiB": one("z".repeat(300 * 1_024)),
  "NUL in its name": one("calc\0ulator"),
  "half a surrogate pair in its name": one("calc\ud800"),
  "an unknown name": one("no_such_tool"),
  "an unknown name that strict endpoints refuse": one('functions.get "weather" 🌦'),
  "arguments that are no JSON": one("calculator", '{"expression":"2+'),
  "arguments with NUL": one("calculator", '{"expression":"\0"}'),
  "arguments with half a surrogate pair": one("calculator", '{"expression":"\ud800"}'),
  "a list as arguments": one("calculator", '["2+3"]'),
  "a number as arguments": one("calculator", "9007199254740993"),
  "no arguments where some are needed": one("calculator", ""),
  "arguments of 300 KiB": one("calculator", fill(300 * 1_024)),
  "arguments of 5 MB": one("calculator", fill(5_000_000)),
  "arguments that nest 5,000 levels": one("calculator", `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`),
  "an integer that no double holds": one("calculator", '{"expression":9007199254740993}'),
  "an id of 5,000 characters": one("no_such_tool", "{}", "i".repeat(5_000)),
  "an id with NUL": one("no_such_tool", "{}", "a\0b"),
  "the id of another one": [...one("no_such_tool"), ...one("")],
  "200 others beside it": Array.from({ length: 201 }, (_, at) => ({ id: `c${at}`, name: "current_time", arguments: "{}" })),
  "2 MB of arguments in 12 others beside it": Array.from({ length: 13 }, (_, at) => ({
    id: `c${at}`,
    name: "no_such_tool",
    arguments: fill(150_000),
  })),
};

interface SentCall {
  readonly id: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

/** The messages that the model got with its second call, after the user's. */
const sentBack = () => (model.requests[before + 1]?.body.messages ?? []).slice(-1_000);

describe.each(Object.keys(badCalls))("a tool call with %s", (name) => {
  const calls = badCalls[name] ?? [];
  /** Expects calls that the strictest endpoints take back. */
  const expectSendable = (sent: readonly SentCall[]) => {
    for (const { id, function: called } of sent) {
      expect(id).toMatch(/^[!-~]{1,200}$/);
      expect(called.name).toMatch(/^[\w-]{1,64}$/);
      expect(JSON.parse(called.arguments)).toBeTypeOf("object");
    }
  };

  test("of a stored turn is answered with an error, and the conversation goes on", async () => {
    model.reply({ calls }, { text: "Sorry." });
    const { status, body } = await call("POST", "/v1/conversations", { message: "Go" });
    expect([status, body.data?.response], JSON.stringify(body)).toEqual([201, "Sorry."]);
    expect(model.requests.length - before).toBe(2);
    const id = body.data.conversation_id;
    const [run] = (await call("GET", `/v1/conversations/${id}/runs`)).body.data.runs;
    expect(run).toMatchObject({ status: "completed", error: "", attempt: 0 });

    const [asked, ...results] = sentBack().slice(-1 - Math.min(calls.length, 128));
    const askedCalls = asked?.tool_calls as SentCall[];
    expect(results.map((message) => message.tool_call_id).sort()).toEqual(askedCalls.map((item) => item.id).sort());
    for (const result of results) expect(JSON.parse(String(result.content))).toEqual({ error: expect.any(String) });
    expectSendable(askedCalls);

    model.reply({ text: "Yes." });
    const next = await call("POST", `/v1/conversations/${id}/messages`, { message: "Still there?" });
    expect(next.body.data?.response).toBe("Yes.");
  });

  test.each([false, true])("of a completion is answered with an error (stream: %s)", async (stream) => {
    model.reply({ calls }, { text: "Sorry." });
    const asked = { model: "mock", stream, messages: [{ role: "user", content: "Go" }] };
    const { status, body } = await call("POST", "/v1/chat/completions", asked);
    expect(status, JSON.stringify(body)).toBe(200);
    expect(JSON.stringify(body)).toContain("Sorry.");
    expect(model.requests.length - before).toBe(2);
    expectSendable(sentBack().find(({ role }) => role === "assistant")?.tool_calls as SentCall[]);
    const results = sentBack().filter(({ role }) => role === "tool");
    expect(results).toHaveLength(Math.min(calls.length, 128));
    for (const result of results) expect(JSON.parse(String(result.content))).toEqual({ error: expect.any(String) });
  });
});
