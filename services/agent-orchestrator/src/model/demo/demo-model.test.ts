import { describe, expect, test } from "vitest";
import { AnswerReader } from "../edge/answer-reader.ts";
import { StreamTap } from "../edge/stream-tap.ts";
import { createDemoModel, demoModelName } from "./demo-model.ts";

const model = createDemoModel("gpt-test");
const forever = new AbortController().signal;
const tool = (name: string, properties: object = {}) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties } },
});
const tools = [tool("calculator", { expression: { type: "string" } }), tool("http_request")];
const user = (content: unknown) => ({ role: "user", content });
const bytesOf = (body: object) => Buffer.from(JSON.stringify(body));

async function ask(body: object) {
  const completion = JSON.parse((await model.complete(bytesOf(body), forever)).toString());
  const [choice] = completion.choices;
  const calls = choice.message.tool_calls?.map((call: { function: { name: string; arguments: string } }) => ({
    name: call.function.name,
    args: JSON.parse(call.function.arguments),
  }));
  return { completion, text: choice.message.content as string | null, calls, finish: choice.finish_reason as string };
}

const asked = (text: string, rest: object = {}) => ask({ messages: [user(text)], tools, ...rest });

describe("arithmetic", () => {
  test.each([
    ["What is 1337 * 42?", "1337 * 42"],
    ["2+2", "2+2"],
    ["Compute (1 + 2) × 3, please", "(1 + 2) * 3"],
    ["How much (roughly 10 ÷ 4) is it?", "10 / 4"],
    ["and -5 + 3 is?", "-5 + 3"],
    ["((1+2)*(3-4))/5.5 = ?", "((1+2)*(3-4))/5.5"],
  ])("goes to the calculator: %s", async (text, expression) => {
    expect((await asked(text)).calls).toEqual([{ name: "calculator", args: { expression } }]);
  });

  test.each(["I am 30 years old", "Hello - how are you?", "version 1.2.3", "(hm)", "3 *"])(
    "is not found in: %s",
    async (text) => {
      expect((await asked(text)).calls).toBeUndefined();
    },
  );

  test("is searched for in bounded time, whatever the text", async () => {
    const started = performance.now();
    for (const text of ["9", "+", "1+", "(", "1)", "1 ", "((1"]) await asked(text.repeat(60_000));
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe("a choice of tools", () => {
  const own = [tool("get_weather", { city: { type: "string" }, days: { type: "integer" }, unit: { enum: ["C", "F"] } })];

  test("is obeyed when it is 'none'", async () => {
    expect((await asked("What is 1 + 1?", { tool_choice: "none" })).calls).toBeUndefined();
  });

  test("is obeyed when a tool is required", async () => {
    expect((await asked("Hello", { tools: own, tool_choice: "required" })).calls).toEqual([
      { name: "get_weather", args: { city: "Hello", days: 1, unit: "C" } },
    ]);
  });

  test("is obeyed when it names a tool", async () => {
    const choice = { type: "function", function: { name: "http_request" } };
    expect((await asked("What is 1 + 1?", { tool_choice: choice })).calls?.[0]?.name).toBe("http_request");
  });

  test("is a client's tool that the user names", async () => {
    expect((await asked("Use get_weather for 3 days", { tools: own })).calls).toEqual([
      { name: "get_weather", args: { city: "Use get_weather for 3 days", days: 3, unit: "C" } },
    ]);
  });

  test("is text without tools", async () => {
    for (const none of [undefined, null, []]) {
      expect(await asked("What is 1 + 1?", { tools: none, tool_choice: "required" })).toMatchObject({
        finish: "stop",
        text: expect.stringContaining("demo model"),
      });
    }
  });
});

describe("response_format", () => {
  const person = {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer", minimum: 18 } },
    required: ["name", "age"],
    additionalProperties: false,
  };
  const inForm = (response_format: object, rest: object = {}) => asked("Ann, 7", { response_format, tools: undefined, ...rest });

  test("of a JSON object is obeyed", async () => {
    const { text } = await inForm({ type: "json_object" });
    expect(JSON.parse(text ?? "")).toEqual({ answer: expect.stringContaining("Ann, 7") });
  });

  test("with a schema is obeyed, also when results are reported", async () => {
    const format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: person } };
    expect(JSON.parse((await inForm(format)).text ?? "")).toEqual({ name: "Ann, 7", age: 18 });
    const messages = [
      user("What is 1 + 1?"),
      { role: "assistant" },
      { role: "tool", content: '{"expression":"1 + 1","result":2}' },
    ];
    const { text } = await ask({ messages, tools, response_format: format });
    expect(JSON.parse(text ?? "")).toEqual({ name: "What is 1 + 1?", age: 18 });
  });

  test("of text changes nothing, and calls of tools come first", async () => {
    expect((await inForm({ type: "text" })).text).toContain("demo model");
    const call = await asked("What is 1 + 1?", { response_format: { type: "json_object" } });
    expect(call.calls).toEqual([{ name: "calculator", args: { expression: "1 + 1" } }]);
  });

  test("with a schema that allows nothing is refused, as endpoints refuse it", async () => {
    const impossible = { type: "json_schema", json_schema: { name: "none", schema: false } };
    await expect(inForm(impossible)).rejects.toThrow(/response_format/);
  });
});

test("a request to send something asks for http_request", async () => {
  expect((await asked("Send an HTTP request to http://localhost:9/hook saying hello world")).calls).toEqual([
    { name: "http_request", args: { method: "POST", url: "http://localhost:9/hook", body: "hello world" } },
  ]);
});

test("results are reported", async () => {
  const round = [
    user("What is 1337 * 42?"),
    { role: "assistant", content: null, tool_calls: [] },
    { role: "tool", content: '{"expression":"1337 * 42","result":56154}' },
  ];
  expect((await ask({ messages: round, tools })).text).toContain("1337 * 42 = 56154");
  const failed = [...round.slice(0, 2), { role: "tool", content: '{"error":"division by zero"}' }];
  expect((await ask({ messages: failed, tools })).text).toContain("that did not work: division by zero");
  expect((await ask({ messages: [...round, user("Thanks")], tools })).calls).toBeUndefined();
});

test("content may be a list of parts", async () => {
  const parts = user([{ type: "text", text: "What is" }, { type: "image_url" }, { type: "text", text: "2 * 3?" }]);
  expect((await ask({ messages: [parts], tools })).calls).toEqual([{ name: "calculator", args: { expression: "2 * 3" } }]);
});

test("equal requests get the same answer, and other requests another id", async () => {
  const { created: _a, ...first } = (await asked("Hello")).completion;
  const { created: _b, ...second } = (await asked("Hello")).completion;
  expect(second).toEqual(first);
  expect((await asked("Hello!")).completion.id).not.toBe(first.id);
  expect(first).toMatchObject({ model: "gpt-test", object: "chat.completion", usage: { prompt_tokens: 2 } });
});

test("a stream has the text of the whole answer, word by word", async () => {
  for (const text of ["Hello", "What is 1 + 1?"]) {
    const body = { messages: [user(text)], tools };
    const whole = await ask(body);
    const deltas: string[] = [];
    const reader = new AnswerReader();
    for await (const piece of await model.stream(bytesOf(body), forever)) {
      deltas.push(...(reader.push(piece).out ?? []).map(({ delta }) => delta));
    }
    expect(reader.end().failure).toBeUndefined();
    const { answer, usage } = reader;
    expect(answer.content).toBe(whole.text ?? "");
    expect(answer.finishReason).toBe(whole.finish);
    expect(usage).toEqual(whole.completion.usage);
    expect(answer.toolCalls).toEqual(whole.completion.choices[0].message.tool_calls ?? []);
    if (text === "Hello") expect(deltas.length).toBeGreaterThan(10);
  }
});

test("a stream ends when its reader leaves", async () => {
  const controller = new AbortController();
  const pieces = (await model.stream(bytesOf({ messages: [user("Hello")] }), controller.signal))[Symbol.asyncIterator]();
  await pieces.next();
  await pieces.next();
  controller.abort(new Error("gone"));
  await expect(pieces.next()).rejects.toThrow("gone");
});

test("a stream passes through the tap", async () => {
  const tap = new StreamTap({ format: 0, passToolCalls: true });
  for await (const piece of await model.stream(bytesOf({ messages: [user("Hello")] }), forever)) tap.push(piece);
  tap.end();
  expect(tap).toMatchObject({ finishReason: "stop", usage: { prompt_tokens: 2 } });
});

test("the demo model is listed by a name that identifies it", async () => {
  expect(await model.listModels(forever)).toEqual([demoModelName]);
  expect(demoModelName).toContain("demo");
});
