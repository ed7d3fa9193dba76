import { create } from "@bufbuild/protobuf";
import { type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { expect } from "vitest";
import type { ModelMessage } from "../src/history/message-form.ts";

/** The calls of an assistant's message in the words of `conversation`. */
interface Init {
  readonly content?: string;
  readonly providerFields?: string;
  readonly arguments?: string;
  readonly name?: string;
}

/**
 * Stored messages from words: `u` a user's message, `a` an answer, `c12` calls 1 and 2, `t1` the result of 1. `init`
 * has fields of the message with that word.
 */
export function conversation(words: string, init: Readonly<Record<string, Init>> = {}): Message[] {
  const roles: Readonly<Record<string, string>> = { u: "user", t: "tool" };
  return words
    .split(" ")
    .filter((word) => word !== "")
    .map((word, index) => {
      const { arguments: args = "{}", name = "calculator", ...rest } = init[word] ?? {};
      const ids = word.startsWith("c") ? [...word.slice(1)] : [];
      return create(MessageSchema, {
        id: `${index}`,
        sequenceNumber: index + 1,
        role: roles[word.charAt(0)] ?? "assistant",
        content: word.startsWith("c") ? "" : word,
        toolCalls: ids.map((id) => ({ id, type: "function", function: { name, arguments: args } })),
        toolCallId: word.startsWith("t") ? word.slice(1) : "",
        ...rest,
      });
    });
}

interface SentCall {
  readonly id: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

/** Expects messages that a strict endpoint takes: one that checks turns, calls, results, names and empty text. */
export function expectStrict(messages: readonly ModelMessage[]): void {
  const [system, ...rest] = messages;
  expect(system?.role).toBe("system");
  let open: string[] = [];
  let expected = "user";
  for (const message of rest) {
    const { role } = message;
    if (role === "tool") {
      expect(message.tool_call_id).toBe(open.shift());
      expect(String(message.content).trim()).not.toBe("");
      continue;
    }
    expect({ open, role }).toEqual({ open: [], role: expected });
    const calls = (message.tool_calls ?? []) as SentCall[];
    if (calls.length === 0) expect(String(message.content).trim()).not.toBe("");
    open = calls.map(({ id }) => id);
    expect(new Set(open).size).toBe(open.length);
    for (const call of calls) {
      expect(call.function.name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
      expect(JSON.parse(call.function.arguments)).toBeTypeOf("object");
    }
    // After results, the assistant goes on.
    expected = role === "user" || calls.length > 0 ? "assistant" : "user";
  }
  expect(open).toEqual([]);
  expect(["user", "tool"]).toContain(rest.at(-1)?.role);
}
