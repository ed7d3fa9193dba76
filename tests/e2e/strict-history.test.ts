import {
  type ScriptedModel,
  type ScriptedReply,
  type ScriptedRequest,
  startScriptedModel,
} from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import { startAllInOne } from "./all-in-one.ts";
import type { System } from "./system.ts";

let model: ScriptedModel;
let system: System;
let token: string;
/** The replies to come; after them the model says "Hello.". */
const script: ScriptedReply[] = [];
/** Requests that a strict endpoint refuses. */
const refused: string[] = [];

interface SentMessage {
  readonly role: string;
  readonly content?: string | null;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

function isObject(json: string): boolean {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** The first fault that a strict endpoint finds in a request's messages. */
function faultOf([first, ...rest]: readonly SentMessage[]): string | undefined {
  if (first?.role !== "system") return "the system's message must be the first";
  let open: string[] = [];
  let expected = "user";
  for (const { role, content, tool_call_id: id, tool_calls: calls = [] } of rest) {
    const isBlank = typeof content !== "string" || content.trim() === "";
    if (role === "tool" ? id !== open.shift() : open.length > 0) return "results must follow their calls, in order";
    if (role !== "tool" && role !== expected) return `a message of the ${expected} is missing before one of the ${role}`;
    if (isBlank && calls.length === 0) return `a message of the ${role} is empty`;
    if (role === "tool") continue;
    if (calls.some((call) => !/^[\w-]{1,64}$/.test(call.function.name))) return "a function's name is invalid";
    if (calls.some((call) => !isObject(call.function.arguments))) return "arguments must be a JSON object";
    open = calls.map((call) => call.id);
    if (new Set(open).size < open.length) return "ids of calls must differ";
    expected = role === "user" || open.length > 0 ? "assistant" : "user";
  }
  return open.length > 0 ? "a call has no result" : undefined;
}

function strictAnswer({ body }: ScriptedRequest): ScriptedReply {
  const fault = faultOf(body.messages as unknown as SentMessage[]);
  if (fault === undefined) return script.shift() ?? { text: "Hello." };
  refused.push(fault);
  return { status: 400, error: fault };
}

beforeAll(async () => {
  model = await startScriptedModel({ models: ["strict"], answer: strictAnswer });
  system = await startAllInOne({ LLM_BASE_URL: model.url, LLM_DEFAULT_MODEL: "strict" });
  const account = { email: "strict@example.com", password: "SecurePass123" };
  await call("POST", "/v1/auth/register", { ...account, name: "S" });
  token = (await call("POST", "/v1/auth/login", account)).data.access_token;
});
afterAll(async () => {
  await system.stop();
  await model.close();
});

const callJson = jsonCaller(
  () => system.baseUrl,
  () => token,
);
const call = async (method: string, path: string, body?: object) => {
  const { status, body: answer } = await callJson(method, path, body);
  return { status, data: answer.data };
};

const say = (conversation: string, message: string) => call("POST", `/v1/conversations/${conversation}/messages`, { message });

const calls = (...list: [id: string, name: string, args: string][]): ScriptedReply => ({
  calls: list.map(([id, name, args]) => ({ id, name, arguments: args })),
});
const sum = '{"expression":"2+3"}';
const boom: ScriptedReply = { status: 400, error: "boom" };
const approval = calls(["c1", "http_request", '{"method":"GET","url":"http://127.0.0.1:1/"}']);

/** Mishaps of a run; `cancels`: the run waits for an approval and is cancelled. */
const mishaps: readonly { name: string; replies: ScriptedReply[]; message?: string; cancels?: boolean }[] = [
  { name: "a refusal", replies: [boom] },
  { name: "a second refusal in a row", replies: [boom] },
  { name: "an answer that is no completion", replies: [{ raw: ["<html>oops</html>"], contentType: "text/html" }] },
  { name: "a cut stream", replies: [{ text: "one two three", cutAfter: 2 }] },
  { name: "an empty answer", replies: [{ text: "" }] },
  { name: "a filtered answer", replies: [{ text: "", finishReason: "content_filter" }] },
  { name: "a failure after a round of tools", replies: [calls(["c1", "calculator", sum], ["c2", "calculator", "{}"]), boom] },
  { name: "a call of a tool that no endpoint would name so", replies: [calls(["x y", "no.such tool!", "{}"])] },
  { name: "arguments that are cut", replies: [calls(["c1", "calculator", '{"expression":'])] },
  { name: "arguments that are no object", replies: [calls(["c1", "calculator", "[1]"])] },
  { name: "ids that come twice", replies: [calls(["c1", "calculator", sum], ["c1", "calculator", sum])] },
  { name: "a run that is cancelled in its round", replies: [approval], cancels: true },
  { name: "a cancelled round after another round", replies: [calls(["c1", "calculator", sum]), approval], cancels: true },
  { name: "a message of blanks", replies: [], message: "  \n " },
];

test.each(mishaps)("a strict endpoint takes the next message after $name", async ({ replies, message = "go on", cancels }) => {
  const id: string = (await call("POST", "/v1/conversations", { message: "hello" })).data.conversation_id;
  script.push(...replies);
  const { data } = await say(id, message);
  if (cancels) {
    expect(data.response).toBe("pending_approval");
    const [run] = (await call("GET", `/v1/conversations/${id}/runs`)).data.runs;
    expect((await call("POST", `/v1/runs/${run.id}/cancel`, {})).status).toBe(200);
  }
  script.length = 0;
  for (const next of ["are you there?", "and now?"]) {
    expect(await say(id, next)).toMatchObject({ status: 200, data: { response: "Hello." } });
  }
  expect(refused).toEqual([]);
});

test("a strict endpoint takes the next message of a conversation in which all of that has happened", async () => {
  const id: string = (await call("POST", "/v1/conversations", { message: "hello" })).data.conversation_id;
  for (const { replies, message = "go on", cancels } of mishaps) {
    script.push(...replies);
    await say(id, message);
    script.length = 0;
    if (!cancels) continue;
    const [run] = (await call("GET", `/v1/conversations/${id}/runs`)).data.runs;
    await call("POST", `/v1/runs/${run.id}/cancel`, {});
  }
  expect(await say(id, "are you there?")).toMatchObject({ status: 200, data: { response: "Hello." } });
  expect(refused).toEqual([]);
});
