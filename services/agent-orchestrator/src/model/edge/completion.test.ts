import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { wholeCompletion } from "@turnwright/testing/scripted-model";
import { describe, expect, test } from "vitest";
import { briefly, chunk, done, head, sse, stop } from "../../../testing/answers.ts";
import { readCompletion, withoutCalls } from "./completion.ts";

const whole = (message: unknown, finish: unknown = "stop", rest: object = {}) => ({
  ...head,
  object: "chat.completion",
  choices: [{ index: 0, message, finish_reason: finish }],
  ...rest,
});
const call = (rest: object = {}) => ({ id: "a", type: "function", function: { name: "f", arguments: "{}" }, ...rest });
const bytesOf = (body: unknown) => Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
const read = (body: unknown) => readCompletion(bytesOf(body));
/** The message and the finish reason that a client gets. */
function clientSide(body: unknown) {
  const { choices } = JSON.parse(read(body).bytes.toString());
  return { ...choices[0].message, finish: choices[0].finish_reason };
}
function failureOf(body: unknown) {
  try {
    read(body);
  } catch (error) {
    return { reason: reasonOf(error), message: (error as Error).message };
  }
  throw new Error("it was read");
}

test("an answer in OpenAI's format is the client's byte for byte", () => {
  const plain = [
    wholeCompletion({ text: "hello" }),
    wholeCompletion({ calls: [{ id: "a", name: "f", arguments: "{}" }] }),
    JSON.stringify(
      whole({ role: "assistant", content: "x", reasoning_content: "hm", vendor: { a: 1 } }, "stop", { service_tier: "x" }),
    ),
    JSON.stringify(whole({ role: "assistant", content: "x", tool_calls: null, refusal: null }), null, 2),
    JSON.stringify(
      whole({ role: "assistant", content: "x" }, "eos", { usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }),
    ),
  ];
  for (const text of plain) expect(read(text).bytes.toString()).toBe(text);
});

describe("an answer in another form is written in OpenAI's", () => {
  test.each<[string, unknown, object]>([
    [
      "parts",
      whole({
        content: [
          { type: "text", text: "hel" },
          { type: "text", text: "lo" },
        ],
      }),
      { content: "hello" },
    ],
    ["a delta", { choices: [{ delta: { content: "hello" } }] }, { role: "assistant", content: "hello", finish: "stop" }],
    ["no finish reason", whole({ content: "hello" }, null), { content: "hello", finish: "stop" }],
    [
      "thinking parts",
      whole({
        content: [
          { type: "thinking", thinking: "hm" },
          { type: "text", text: "5" },
        ],
      }),
      { content: "5", reasoning_content: "hm" },
    ],
    [
      "calls and stop",
      whole({ content: null, tool_calls: [call()] }),
      { content: null, finish: "tool_calls", tool_calls: [call()] },
    ],
    [
      "an object for arguments",
      whole({ tool_calls: [call({ function: { name: "f", arguments: { a: 1 } } })] }),
      { tool_calls: [call({ function: { name: "f", arguments: '{"a":1}' } })] },
    ],
    [
      "calls without ids and types",
      whole({ tool_calls: [null, { function: { name: "f", arguments: "{}" } }] }),
      { tool_calls: [{ id: expect.stringMatching(/^call_/), type: "function", function: { name: "f", arguments: "{}" } }] },
    ],
    ["an id that is a number", whole({ tool_calls: [call({ id: 7 })] }), { tool_calls: [call({ id: "7" })] }],
    [
      "a call's own fields",
      whole({ tool_calls: [call({ id: 7, extra_content: { s: 1 } })] }),
      { tool_calls: [call({ id: "7", extra_content: { s: 1 } })] },
    ],
    [
      "an event stream",
      sse(chunk({ role: "assistant", content: "hel", reasoning: "hm" }), chunk({ content: "lo" }), stop, done),
      { role: "assistant", content: "hello", reasoning: "hm", finish: "stop" },
    ],
    [
      "an event stream with calls",
      sse(chunk({ tool_calls: [{ index: 0, ...call() }] }), stop),
      { content: null, finish: "tool_calls", tool_calls: [call()] },
    ],
    ["JSON with [DONE] behind it", `${JSON.stringify(whole({ content: "hello" }))}\n\ndata: [DONE]\n\n`, { content: "hello" }],
    ["a byte order mark", `\ufeff${JSON.stringify(whole({ content: "hello" }))}`, { content: "hello" }],
  ])("from %s", (_name, body, expected) => {
    expect(clientSide(body)).toMatchObject(expected);
  });

  test("with its usage", () => {
    const odd = { prompt_tokens: 12.5, completion_tokens: -3, total_tokens: "15" };
    const read1 = read(whole({ content: "x" }, "stop", { usage: odd }));
    expect(JSON.parse(read1.bytes.toString()).usage).toBeUndefined();
    expect(read1).toMatchObject({ isUsageTold: false, usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } });
    const read2 = read(whole({ content: "x" }, "stop", { usage: { prompt_tokens: 5, completion_tokens: -3 } }));
    expect(JSON.parse(read2.bytes.toString()).usage).toEqual({ prompt_tokens: 5, completion_tokens: 0, total_tokens: 5 });
  });

  test("and all of its choices", () => {
    const choices = [0, 1].map((index) => ({
      index,
      message: { content: [{ type: "text", text: `${index}` }] },
      finish_reason: "stop",
    }));
    const { choices: written } = JSON.parse(read({ ...whole({}), choices }).bytes.toString());
    expect(written.map(({ message }: { message: { content: string } }) => message.content)).toEqual(["0", "1"]);
  });
});

test("calls of an answer that was cut do not count", () => {
  for (const reason of ["length", "content_filter"]) {
    const completion = read(
      whole({ content: "half", tool_calls: [call({ function: { name: "f", arguments: '{"a":' } })] }, reason),
    );
    expect([completion.calls, completion.hasCalls]).toEqual([[], true]);
    expect(withoutCalls(completion).choices).toEqual([{ index: 0, message: { content: "half" }, finish_reason: reason }]);
  }
});

test("calls, their problems and the fields that the endpoint wants back are read", () => {
  const extra_content = { google: { thought_signature: "s" } };
  const signed = call({ extra_content });
  const message = {
    content: "x",
    reasoning_content: "hm",
    annotations: [],
    tool_calls: [signed, call({ id: "b", function: { name: "" } })],
  };
  const { calls, extraFields, content } = read(whole(message));
  expect(calls.map(briefly)).toEqual(["f({})", "({})"]);
  expect(calls.map(({ problem }) => problem)).toEqual([undefined, "The call names no tool."]);
  expect([extraFields, content]).toEqual([{ message: { reasoning_content: "hm" }, calls: [{ extra_content }, undefined] }, "x"]);
});

test.each<[string, unknown, ErrorReason, string]>([
  [
    "an error",
    { error: { message: "Rate limit exceeded upstream, try later", code: 429 }, user_id: "u" },
    ErrorReason.MODEL_RATE_LIMITED,
    "Rate limit",
  ],
  [
    "an error in the choice",
    { choices: [{ message: { content: "" }, finish_reason: "error", error: { message: "overloaded" } }] },
    ErrorReason.MODEL_FAILED,
    "overloaded",
  ],
  ["an error for a finish reason", whole({ content: "" }, "error"), ErrorReason.MODEL_FAILED, "failed while it answered"],
  ["null choices", { choices: null, id: null }, ErrorReason.MODEL_FAILED, "not a completion"],
  ["no choices", { choices: [] }, ErrorReason.MODEL_FAILED, "not a completion"],
  ["choices that are none", { choices: [null, 1, {}] }, ErrorReason.MODEL_FAILED, "not a completion"],
  ["a list", [], ErrorReason.MODEL_FAILED, "not a completion"],
  ["null", "null", ErrorReason.MODEL_FAILED, "not a completion"],
  ["nothing", "", ErrorReason.MODEL_FAILED, "empty answer"],
  ["a page", "<html>", ErrorReason.MODEL_FAILED, "web page"],
  ["half of a completion", JSON.stringify(whole({ content: "hello" })).slice(0, -9), ErrorReason.MODEL_FAILED, "not JSON"],
  [
    "JSON that is too deep",
    `{"choices":[{"message":{"content":"x","vendor":${"[".repeat(100_000)}${"]".repeat(100_000)}}}]}`,
    ErrorReason.MODEL_FAILED,
    "cannot be read",
  ],
])("fails on %s", (_name, body, reason, words) => {
  expect(failureOf(body)).toEqual({ reason, message: expect.stringContaining(words) });
});
