import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversation, expectStrict } from "../../testing/history.ts";
import { exchangesOf } from "./exchanges.ts";
import { modelMessages, noDemands as none, type Receiver } from "./message-form.ts";
import { familyOf, storedFields } from "./provider-fields.ts";

const giver = { provider: "p", family: "deepseek" };

function sentFor(words: string, init: Parameters<typeof conversation>[1] = {}, receiver: Partial<Receiver> = {}) {
  return modelMessages("system", exchangesOf(conversation(words, init)), { ...giver, demands: none, ...receiver });
}

const brief = (messages: ReturnType<typeof sentFor>) =>
  messages
    .slice(1)
    .map(({ role, content, tool_call_id: id }) => (role === "tool" ? `tool ${id}` : `${role} ${content}`))
    .join(", ");

const unanswered = "assistant [This message was not answered.]";

describe("the messages of a request", () => {
  test.each([
    { words: "u a u", sent: "user u, assistant a, user u" },
    { words: "u1 u2 u3", sent: `user u1, ${unanswered}, user u2, ${unanswered}, user u3`, why: "failed runs" },
    { words: "u c12 t2 t1", sent: "user u, assistant null, tool 1, tool 2", why: "results in another order" },
    { words: "u c1 t1 t1", sent: "user u, assistant null, tool 1", why: "a result that came twice" },
    { words: "t9 u", sent: "user u", why: "a result without its call" },
    { words: "u c1 u2", sent: `user u, assistant null, tool 1, ${unanswered}, user u2`, why: "a call without its result" },
    { words: "u c1 t1 u2", sent: `user u, assistant null, tool 1, ${unanswered}, user u2`, why: "a run that ended in its round" },
    { words: "a u", sent: "user [Earlier messages of this conversation are left out.], assistant a, user u" },
  ])("alternate, with each result behind its call: $words $why", ({ words, sent }) => {
    expect(brief(sentFor(words))).toBe(sent);
  });

  test("satisfy a strict endpoint, whatever the conversation has been through", () => {
    const word = fc.constantFrom("u", "a", "c1", "c12", "c21", "t1", "t2", "t3");
    const odd = fc.record({
      content: fc.constantFrom("", "  ", "text"),
      name: fc.constantFrom("", "a.b", "x".repeat(100), "ok"),
      arguments: fc.constantFrom("", "{", "[]", "null", '{"a":1}', '"{}"'),
    });
    const demands = fc.record({
      reasoning: fc.boolean(),
      text: fc.boolean(),
      shortIds: fc.boolean(),
      bare: fc.boolean(),
      noImages: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), fc.dictionary(word, odd), demands, (words, init, demanded) => {
        expectStrict(sentFor([...words, "u"].join(" "), init, { demands: demanded }));
      }),
      { numRuns: 500 },
    );
  });

  test("have names, ids and arguments that endpoints take", () => {
    const id = "id with spaces/and more";
    const stored = conversation("u c1 t1 a u", { c1: { name: "a.b c", arguments: "{oops" } });
    for (const message of stored) {
      for (const call of message.toolCalls) call.id = id;
      if (message.role === "tool") message.toolCallId = id;
    }
    const [, , call, result] = modelMessages("system", exchangesOf(stored), { ...giver, demands: none });
    const sentId = String(result?.tool_call_id);
    expect(sentId).toMatch(/^call_[0-9a-f]{24}$/);
    expect(call?.tool_calls).toEqual([
      { id: sentId, type: "function", function: { name: "a_b_c", arguments: '{"invalid_arguments":"{oops"}' } },
    ]);
  });

  test("keep the bytes of valid arguments, numbers beyond 2^53 included", () => {
    const text = '{ "n": 9007199254740993 }';
    const [, , call] = sentFor("u c1 t1 a u", { c1: { arguments: text } });
    expect(call).toMatchObject({ tool_calls: [{ function: { arguments: text } }] });
  });
});

test.each([
  ["deepseek/deepseek-r1", "deepseek"],
  ["accounts/x/models/Qwen3-32B", "qwen"],
  ["gpt-4o-mini", "gpt"],
  ["o3", "o"],
  ["4711", "4711"],
  ["", ""],
])("the family of the model %s is %s", (model, family) => {
  expect(familyOf(model)).toBe(family);
});

describe("fields that a provider wants back", () => {
  const fields = JSON.stringify({
    message: { reasoning_content: "I should calculate.", role: "user", content: "not this" },
    calls: [{ extra_content: { google: { thought_signature: "c2ln" } }, id: "not this" }],
  });
  const init = { c1: { providerFields: storedFields(giver, fields) } };

  test("go back to it with the message and its calls, and replace nothing of ours", () => {
    const [, , call] = sentFor("u c1 t1 a u", init);
    expect(call).toMatchObject({
      role: "assistant",
      content: null,
      reasoning_content: "I should calculate.",
      tool_calls: [{ id: "1", type: "function", extra_content: { google: { thought_signature: "c2ln" } } }],
    });
  });

  test.each([{ provider: "another" }, { family: "gpt" }])("go to no other: %j", (receiver) => {
    const text = JSON.stringify(sentFor("u c1 t1 a u", init, receiver));
    expect(text).not.toContain("reasoning_content");
    expect(text).not.toContain("thought_signature");
  });

  test("are empty for a message that has none, where the endpoint demands them", () => {
    const [, , call, , answer] = sentFor("u c1 t1 a u", {}, { demands: { ...none, reasoning: true } });
    expect(call).toMatchObject({ reasoning_content: "" });
    expect(answer).not.toHaveProperty("reasoning_content");
  });

  test.each(["", "{", "[]", "null", '{"provider":7}', '{"provider":"deepseek","message":[],"calls":{}}'])(
    "may be any text: %s",
    (providerFields) => {
      expectStrict(sentFor("u c1 t1 a u", { c1: { providerFields } }));
    },
  );
});
