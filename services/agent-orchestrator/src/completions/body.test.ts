import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { isTooDeep } from "@turnwright/platform/json/json-depth";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseBody } from "./body.ts";

const user = { role: "user", content: "hi" };

function refusal(body: unknown) {
  try {
    parseBody(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)));
  } catch (error) {
    return { reason: reasonOf(error), param: detailOf(error)?.param, message: (error as { rawMessage: string }).rawMessage };
  }
  throw new Error("the body passed");
}

describe("a body is refused with the name of the invalid field", () => {
  test.each([
    ["messages", {}],
    ["messages", { messages: [] }],
    ["messages", { messages: "hi" }],
    ["messages[0]", { messages: ["hi"] }],
    ["messages[0].role", { messages: [{ content: "hi" }] }],
    ["messages[1].role", { messages: [user, { role: "robot", content: "hi" }] }],
    ["messages[0].content", { messages: [{ role: "user", content: 5 }] }],
    [
      "messages[0].tool_calls[0].id",
      { messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: "" } }] }] },
    ],
    ["messages[0].tool_call_id", { messages: [{ role: "tool", content: "x", tool_call_id: 1 }] }],
    ["model", { messages: [user], model: 5 }],
    ["model", { messages: [user], model: "m".repeat(201) }],
    ["temperature", { messages: [user], temperature: 2.1 }],
    ["temperature", { messages: [user], temperature: -0.1 }],
    ["temperature", { messages: [user], temperature: "hot" }],
    ["max_tokens", { messages: [user], max_tokens: 0 }],
    ["max_tokens", { messages: [user], max_tokens: 1.5 }],
    ["max_completion_tokens", { messages: [user], max_completion_tokens: -1 }],
    ["n", { messages: [user], n: 0 }],
    ["stream", { messages: [user], stream: "yes" }],
    ["stream_options", { messages: [user], stream_options: true }],
    ["stream_options.include_usage", { messages: [user], stream_options: { include_usage: "yes" } }],
    ["tools", { messages: [user], tools: {} }],
    ["tools[0].function.name", { messages: [user], tools: [{ type: "function", function: { name: "" } }] }],
    ["tools[0].type", { messages: [user], tools: [{ function: { name: "f" } }] }],
    ["tool_choice", { messages: [user], tool_choice: "sometimes" }],
  ])("case %#: %s", (param, body) => {
    const refused = refusal(body);
    expect(refused).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
    expect(refused.message.startsWith(`${param}: `)).toBe(true);
  });

  test.each(["", "hi", "[]", "5", "null", '{"messages":', '"\\ud800"'])("and as a whole: %s", (body) => {
    expect(refusal(body)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, message: expect.stringMatching(/^body: /) });
  });
});

test("null means an absent field, and unknown fields pass", () => {
  const body = {
    messages: [
      { role: "assistant", content: null, tool_calls: null, refusal: null },
      { role: "user", content: [{ type: "text", text: "hi" }] },
    ],
    model: null,
    tools: null,
    tool_choice: null,
    temperature: null,
    max_tokens: null,
    stream: null,
    stream_options: null,
    seed: 7,
    response_format: { type: "json_object" },
  };
  expect(parseBody(Buffer.from(JSON.stringify(body)))).toEqual(body);
});

test("depth is measured outside strings", () => {
  expect(isTooDeep(Buffer.from("[".repeat(32) + "]".repeat(32)))).toBe(false);
  expect(isTooDeep(Buffer.from("[".repeat(33)))).toBe(true);
  expect(isTooDeep(Buffer.from(JSON.stringify({ text: `\\"${"[{".repeat(100)}` })))).toBe(false);
  expect(refusal(`{"messages":${"[".repeat(5_000)}`)).toMatchObject({ message: expect.stringContaining("nests deeper") });
});

test("the measured depth is the value's own, whatever its strings contain", () => {
  const levels = fc.array(fc.tuple(fc.boolean(), fc.string()), { maxLength: 40 });
  fc.assert(
    fc.property(levels, (nested) => {
      const value = nested.reduce<unknown>(
        (inner, [isArray, text]) => (isArray ? [text, inner] : { [text]: inner, "[{": text }),
        1,
      );
      expect(isTooDeep(Buffer.from(JSON.stringify(value)))).toBe(nested.length > 32);
    }),
  );
});
