import { expect, test } from "vitest";
import type { Message } from "../../api/types.ts";
import { openRunOf, threadOf } from "./stored-thread.ts";

const message = (role: string, content: string, more: Partial<Message> = {}) =>
  ({
    role,
    content,
    tool_calls: [],
    tool_call_id: "",
    model: "",
    prompt_tokens: 0,
    completion_tokens: 0,
    sequence_number: 1,
    created_at: null,
    run_id: "r1",
    ...more,
  }) as never as Message;
const called = [{ id: "a", type: "function", function: { name: "calculator", arguments: "{}" } }];

const stored = [
  message("user", "2+3?"),
  message("assistant", "", { tool_calls: called, model: "small", prompt_tokens: 5, completion_tokens: 2 }),
  message("tool", "5", { tool_call_id: "a" }),
  message("assistant", "Five.", { model: "small", prompt_tokens: 7, completion_tokens: 1 }),
  message("user", "Again?", { run_id: "r2", sequence_number: 5 }),
];

test("an answer holds all messages up to the next one of the person", () => {
  expect(threadOf(stored)).toMatchObject([
    { kind: "user", text: "2+3?" },
    {
      kind: "answer",
      tokens: 15,
      model: "small",
      parts: [
        { kind: "call", result: "5" },
        { kind: "text", text: "Five." },
      ],
    },
    { kind: "user", text: "Again?", sequence: 5 },
  ]);
});

test("the stream tells an answer that is not whole", () => {
  expect(openRunOf(stored, false)).toBe("r2");
  expect(openRunOf(stored.slice(0, 4), false)).toBe("");
  expect(openRunOf(stored.slice(0, 2), false)).toBe("r1");
  expect(openRunOf(stored.slice(0, 4), true)).toBe("r1");
  expect(openRunOf([], false)).toBe("");
});
