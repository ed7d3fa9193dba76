import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { chunk, done, frame, read, sse, stop } from "../../../testing/answers.ts";

const { MODEL_FAILED, MODEL_RATE_LIMITED } = ErrorReason;
const thinking = (text: string) => chunk({ content: [{ type: "thinking", thinking: [{ type: "text", text }] }] });
const withChoices = (choices: unknown) => ({ ...chunk({}), choices });
const whole = (message: unknown, finish: unknown = "stop", rest: object = {}) => ({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message, finish_reason: finish }],
  ...rest,
});

describe("an answer's text is read", () => {
  test.each<[string, string, string]>([
    ["in deltas", sse(chunk({ content: "hel" }), chunk({ content: "lo" }), stop, done), "hello"],
    [
      "in parts",
      sse(
        chunk({
          content: [
            { type: "text", text: "hel" },
            { type: "text", text: "lo" },
          ],
        }),
        stop,
      ),
      "hello",
    ],
    ["in parts that are texts", sse(chunk({ content: ["hel", "lo"] }), stop), "hello"],
    [
      "from a message in the place of a delta",
      sse(withChoices([{ index: 0, message: { content: "hello" }, finish_reason: "stop" }])),
      "hello",
    ],
    ["from messages in pieces", sse(...["hel", "lo"].map((content) => withChoices([{ message: { content } }])), stop), "hello"],
    ["once, where the end repeats it as a message", sse(chunk({ content: "hello" }), whole({ content: "hello" })), "hello"],
    [
      "with null for choices and without choices before it",
      sse(withChoices(null), { id: "x" }, chunk({ content: "hello" }), stop),
      "hello",
    ],
    ["with null for deltas", sse(chunk(null), chunk({ content: "hello" }), chunk(null, "stop")), "hello"],
    ["with null for calls", sse(chunk({ tool_calls: null, content: "hello" }), chunk({ tool_calls: [null] }), stop), "hello"],
    [
      "with lists, null and words between the events",
      sse("data: []\n\n", frame("null"), frame("ping"), chunk({ content: "hello" }), stop),
      "hello",
    ],
    ["with an empty error beside it", sse(chunk({ content: "hello" }, null, { error: "" }), stop), "hello"],
    ["with null for an error", sse(chunk({ content: "hello" }, null, { error: null }), stop), "hello"],
    ["with an empty finish reason until the last chunk", sse(chunk({ content: "hello" }, ""), stop), "hello"],
    ["without a finish reason, up to [DONE]", sse(chunk({ content: "hello" }), done), "hello"],
    ["up to [DONE] and no further", sse(chunk({ content: "hello" }), stop, done, chunk({ content: " again" })), "hello"],
    ["from JSON for a stream", JSON.stringify(whole({ content: "hello" })), "hello"],
    ["from JSON on several lines", JSON.stringify(whole({ content: "hello" }), null, 2).replaceAll("\n", "\r\n"), "hello"],
    ["from JSON with [DONE] behind it", `${JSON.stringify(whole({ content: "hello" }))}\n\ndata: [DONE]\n\n`, "hello"],
    ["from JSON with [DONE] glued to it", `${JSON.stringify(whole({ content: "hello" }))}data: [DONE]`, "hello"],
    ["from JSON without a finish reason", JSON.stringify(whole({ content: "hello" }, null)), "hello"],
    ["that says [DONE] itself", JSON.stringify(whole({ content: "say data: [DONE]" })), "say data: [DONE]"],
    ["from a refusal", sse(chunk({ refusal: "I can" }), chunk({ refusal: "not" }), stop), "I cannot"],
    ["from a part that is a refusal", sse(chunk({ content: [{ type: "refusal", refusal: "No." }] }), stop), "No."],
    [
      "from the first of several choices",
      sse(
        withChoices([
          { index: 0, delta: { content: "a" } },
          { index: 1, delta: { content: "b" } },
        ]),
        stop,
      ),
      "a",
    ],
    ["from a choice with another index", sse(withChoices([{ index: 7, delta: { content: "a" }, finish_reason: "stop" }])), "a"],
    [
      "with halves of a character in two deltas",
      sse(
        'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
        stop,
      ),
      "😀",
    ],
    [
      "without NUL and halves of characters",
      sse('data: {"choices":[{"delta":{"content":"a\\u0000b\\ud83d"}}]}\n\n', stop),
      "a\ufffdb\ufffd",
    ],
    ["when it is empty", sse(chunk({ role: "assistant", content: "" }), stop, done), ""],
  ])("%s", (_name, stream, content) => {
    const answer = read(stream);
    expect(answer.error).toBeUndefined();
    expect(answer).toMatchObject({ content, finishReason: "stop", calls: [] });
  });

  test.each<[string, (text: string) => string]>([
    ["carriage returns", (text) => text.replaceAll("\n", "\r")],
    ["carriage returns and line feeds", (text) => text.replaceAll("\n", "\r\n")],
    ["both in turn", (text) => text.replaceAll("\n\n", "\r\n\r\r\n")],
    ["a byte order mark", (text) => `\ufeff${text}`],
    ["blank lines and a byte order mark", (text) => `\n\n \ufeff${text}`],
    ["no space after the colon", (text) => text.replaceAll("data: ", "data:")],
    [
      "comments and other fields",
      (text) => `: OPENROUTER PROCESSING\n\n${text.replaceAll("data: ", "event: message\nid: 1\nretry: 5\n: ping\ndata: ")}`,
    ],
    ["data over several lines", (text) => text.replaceAll(',"choices"', '\ndata: ,"choices"')],
    ["no blank line at the end", (text) => text.trimEnd()],
  ])("with %s", (_name, written) => {
    const stream = written(sse(chunk({ content: "hel" }), chunk({ content: "lo" }), stop));
    expect(read(stream)).toMatchObject({ content: "hello", finishReason: "stop", error: undefined });
  });
});

test("[DONE] ends an answer at once, streamed or glued to JSON", () => {
  expect(read(sse(chunk({ content: "hello" }), stop, done)).isDone).toBe(true);
  expect(read(`${JSON.stringify(whole({ content: "hello" }))}\n\ndata: [DONE]\n\n`).isDone).toBe(true);
  expect(read(sse(chunk({ content: "hello" }), stop)).isDone).toBe(false);
});

describe("reasoning is told from the answer", () => {
  test.each<[string, object[]]>([
    ["reasoning_content", [{ reasoning_content: "h" }, { reasoning_content: "m" }]],
    ["reasoning", [{ reasoning: "h" }, { content: null, reasoning: "m" }]],
    ["an object", [{ reasoning: { content: "h" } }, { thinking: "m" }]],
    ["reasoning_details", ["h", "m"].map((text) => ({ reasoning_details: [{ type: "reasoning.text", text, index: 0 }] }))],
    ["two fields with the same text", ["h", "m"].map((text) => ({ reasoning: text, reasoning_details: [{ text }] }))],
    ["parts", ["h", "m"].map((text) => ({ content: [{ type: "thinking", thinking: [{ type: "text", text }] }] }))],
    ["a tag", [{ content: "\n<thi" }, { content: "nk>h" }, { content: "m</thi" }, { content: "nk>" }, { content: "\n\n" }]],
  ])("from %s", (_name, deltas) => {
    const answer = read(sse(...deltas.map((delta) => chunk(delta)), chunk({ content: "It is <b>5</b>." }), stop));
    expect(answer).toMatchObject({ content: "It is <b>5</b>.", reasoning: "hm", thought: "hm" });
  });

  test("and a tag that does not open the answer, or is not closed, is text", () => {
    for (const content of ["Use <think>x</think>.", "<thinking>x", "<th", "<think>x"]) {
      expect(read(sse(chunk({ content }), stop))).toMatchObject({ content, reasoning: "" });
    }
    expect(read(sse(chunk({ content: "<think>so far" }), chunk({}, "length")))).toMatchObject({
      content: "",
      reasoning: "so far",
    });
  });

  test("in the parts of a whole answer", () => {
    const content = [
      { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
      { type: "text", text: "5" },
    ];
    expect(read(JSON.stringify(whole({ content })))).toMatchObject({ content: "5", reasoning: "hm" });
    expect(read(sse(thinking("h"), thinking("m"), chunk({ content: "5" }), stop))).toMatchObject({
      content: "5",
      reasoning: "hm",
    });
  });
});

describe("an answer ends", () => {
  const call = { index: 0, id: "a", function: { name: "f", arguments: "{}" } };
  const half = { index: 0, id: "a", function: { name: "f", arguments: '{"a":' } };

  test.each<[string, string, string, string[]]>([
    ["in calls, whatever its finish reason", sse(chunk({ tool_calls: [call] }), stop), "tool_calls", ["f({})"]],
    ["in calls, without a finish reason", sse(chunk({ tool_calls: [call] }), done), "tool_calls", ["f({})"]],
    ["in calls, without a finish reason and [DONE]", sse(chunk({ tool_calls: [call] })), "tool_calls", ["f({})"]],
    [
      "in a call of the older form",
      sse(chunk({ function_call: { name: "f", arguments: "{}" } }, "function_call")),
      "tool_calls",
      ["f({})"],
    ],
    ["in stop without calls", sse(chunk({ content: "x" }), chunk({}, "tool_calls")), "stop", []],
    ["in length, and its calls do not run", sse(chunk({ tool_calls: [half] }), chunk({}, "length")), "length", []],
    [
      "in content_filter, and its calls do not run",
      sse(chunk({ tool_calls: [call] }), chunk({}, "content_filter")),
      "content_filter",
      [],
    ],
    ["in length by another word", sse(chunk({ content: "x" }), chunk({}, "MAX_TOKENS")), "length", []],
    ["in content_filter by another word", sse(chunk({ content: "x" }), chunk({}, "SAFETY")), "content_filter", []],
    ["in stop by words that are unknown", sse(chunk({ content: "x" }), chunk({}, "constructor")), "stop", []],
    ["in stop by a number", sse(chunk({ content: "x" }, 7), done), "stop", []],
  ])("%s", (_name, stream, finishReason, calls) => {
    expect(read(stream)).toMatchObject({ finishReason, calls, error: undefined });
  });

  test.each<[string, string, ErrorReason, string]>([
    ["without anything", "", MODEL_FAILED, "empty answer"],
    ["with blanks", "\n \r\n", MODEL_FAILED, "empty answer"],
    ["with [DONE] alone", done, MODEL_FAILED, "without a word"],
    ["without a finish reason and [DONE]", sse(chunk({ content: "hel" })), MODEL_FAILED, "ended before its answer"],
    ["in the middle of a call", sse(chunk({ tool_calls: [half] })), MODEL_FAILED, "ended before its answer"],
    ["in the middle of an event", sse(chunk({ content: "hel" })).slice(0, -20), MODEL_FAILED, "not JSON"],
    ["with words for an answer", "Internal Server Error", MODEL_FAILED, "Internal Server Error"],
    ["with a page", "<!DOCTYPE html><html><body>nginx</body></html>", MODEL_FAILED, "web page"],
    [
      "with an error",
      JSON.stringify({ error: { message: "Rate limit exceeded upstream", code: 429 } }),
      MODEL_RATE_LIMITED,
      "Rate limit",
    ],
    ["with an error in a list", JSON.stringify([{ error: { code: 503, message: "overloaded" } }]), MODEL_FAILED, "overloaded"],
    ["with an event called error", 'event: error\ndata: {"code":"503","message":"overloaded"}\n\n', MODEL_FAILED, "overloaded"],
    ["with words in an event called error", "event: error\ndata: overloaded\n\n", MODEL_FAILED, "overloaded"],
    ["with a bare error", sse({ code: 500, message: "boom" }), MODEL_FAILED, "boom"],
    ["with a detail", sse({ detail: "Not here" }), MODEL_FAILED, "Not here"],
    ["with JSON that is no completion", JSON.stringify({ id: null, choices: null }), MODEL_FAILED, "without a word"],
  ])("in a failure %s", (_name, stream, reason, words) => {
    const { error } = read(stream);
    expect(error?.reason).toBe(reason);
    expect(error?.message).toContain(words);
  });

  test.each([
    [
      "in the choice",
      { delta: { content: "" }, finish_reason: "error", error: { message: "overloaded", code: 503 } },
      "overloaded",
    ],
    [
      "in the choice beside text",
      { delta: { content: " more" }, finish_reason: "error", error: { message: "overloaded" } },
      "overloaded",
    ],
    ["in the finish reason", { delta: { content: "" }, finish_reason: "error" }, "failed while it answered"],
  ])("in a failure with an error %s, after its text", (_name, choice, words) => {
    const { error, content } = read(sse(chunk({ content: "Half an ans" }), withChoices([{ index: 0, ...choice }])));
    expect(content).toBe(`Half an ans${choice.delta.content}`);
    expect(error).toMatchObject({ reason: MODEL_FAILED, message: expect.stringContaining(words) });
  });
});

describe("fields that the endpoint wants back", () => {
  const fieldsOf = (stream: string) => {
    const { providerFields } = read(stream);
    return providerFields === "" ? "" : JSON.parse(providerFields);
  };
  const call = (rest: object, at = 0) => ({ index: at, id: `c${at}`, function: { name: "f", arguments: "{}" }, ...rest });

  test("are joined from their pieces", () => {
    const detail = (text: string, rest: object = {}) => ({ type: "reasoning.text", index: 0, format: "x", text, ...rest });
    const stream = sse(
      chunk({
        role: "assistant",
        reasoning_content: "I should ",
        reasoning_details: [detail("I should ")],
        provider_specific: "v1",
      }),
      chunk({
        reasoning_content: "calculate.",
        reasoning_details: [detail("calculate.", { signature: "s" })],
        provider_specific: "v1",
      }),
      chunk({ tool_calls: [call({ extra_content: { google: { thought_signature: "sig" } } }), call({}, 1)] }),
      chunk({}, "tool_calls"),
    );
    expect(fieldsOf(stream)).toEqual({
      message: {
        reasoning_content: "I should calculate.",
        reasoning_details: [detail("I should calculate.", { signature: "s" })],
        provider_specific: "v1",
      },
      calls: [{ extra_content: { google: { thought_signature: "sig" } } }, null],
    });
  });

  test("are none where there are only OpenAI's, empty or null ones", () => {
    const empty = {
      role: "assistant",
      content: "x",
      refusal: null,
      annotations: [],
      reasoning_content: "",
      audio: null,
      extra: {},
    };
    expect(fieldsOf(sse(chunk(empty), chunk({ tool_calls: [call({})] }), stop))).toBe("");
  });

  test("are left out when they are too large, and an answer without them is whole", () => {
    const big = Array.from({ length: 30 }, () => chunk({ vendor: { blob: "x".repeat(10_000) } }));
    expect(read(sse(...big, chunk({ content: "hello" }), stop))).toMatchObject({
      content: "hello",
      providerFields: "",
      lostFields: true,
      error: undefined,
    });
  });

  test("named like the prototype's harm nothing", () => {
    const stream =
      'data: {"choices":[{"delta":{"__proto__":{"polluted":1},"constructor":"c","content":"x"},"finish_reason":"stop"}]}\n\n';
    expect(read(stream)).toMatchObject({ content: "x", error: undefined });
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

test.each([
  ["null", null],
  ["an empty object", {}],
  ["a list", []],
  ["null counts", { prompt_tokens: null, completion_tokens: null, total_tokens: null }],
  ["texts", { prompt_tokens: "12", completion_tokens: "3" }],
  ["fractions", { prompt_tokens: 12.5, completion_tokens: 3.25, total_tokens: 15.75 }],
  ["negative counts", { prompt_tokens: -1, completion_tokens: -5, total_tokens: -6 }],
  ["counts beyond all bounds", { prompt_tokens: 1e300, completion_tokens: 2 ** 53, total_tokens: 1e18 }],
  ["a word", "none"],
])("a usage that is %s is not told", (_name, usage) => {
  expect(read(sse(chunk({ content: "hello" }), stop, { ...chunk({}), choices: [], usage }))).toMatchObject({
    usage: undefined,
    content: "hello",
    error: undefined,
  });
});

test("counts under other names are read, and details that are no counts are left out", () => {
  const usageOf = (usage: object) => read(sse(chunk({ content: "x" }, "stop", { usage }))).usage;
  expect(usageOf({ input_tokens: 5, output_tokens: 6 })).toMatchObject({
    prompt_tokens: 5,
    completion_tokens: 6,
    total_tokens: 11,
  });
  expect(usageOf({ prompt_tokens: 5, total_tokens: 9 })).toMatchObject({ completion_tokens: 4, total_tokens: 9 });
  expect(usageOf({ total_tokens: 9 })).toEqual({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 9 });
  const details = { prompt_tokens_details: { cached_tokens: -1, audio_tokens: 2, nested: { deep_tokens: 1.5 } }, cost: 0.25 };
  expect(usageOf({ prompt_tokens: 5, completion_tokens: 6, ...details })).toEqual({
    prompt_tokens: 5,
    completion_tokens: 6,
    total_tokens: 11,
    prompt_tokens_details: { audio_tokens: 2, nested: {} },
    cost: 0.25,
  });
});
