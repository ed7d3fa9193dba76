import { expect, test } from "vitest";
import { addEvent, applyEvent, isAfter, isEnded, type RunEvent, startedAnswer, textOf } from "./live-run.ts";

const event = (type: string, event_id: string, more: object = {}) =>
  ({
    type,
    event_id,
    delta: "",
    tool_call: null,
    result: "",
    usage: null,
    error: "",
    error_reason: "",
    in_ms: 0,
    ...more,
  }) as never as RunEvent;
const call = (id: string, name: string, args: string) => ({ id, type: "function", function: { name, arguments: args } });
const fold = (events: readonly RunEvent[]) => events.reduce(applyEvent, startedAnswer("run"));

test("positions are compared by their numbers", () => {
  expect(isAfter("2.100", "2.66")).toBe(true);
  expect(isAfter("2.66", "2.66")).toBe(false);
  expect(isAfter("3", "2.100")).toBe(true);
  expect(isAfter("2", "2.1")).toBe(false);
});

test("an answer is its text with its calls and their results, in order", () => {
  const answer = fold([
    event("started", "1", { agent_type: "general", model: "small" }),
    event("content", "1.5", { delta: "Let me " }),
    event("content", "1.9", { delta: "see." }),
    event("tool_call", "2", { tool_call: call("a", "calculator", '{"expression":"2+3"}') }),
    event("tool_result", "2.1", { tool_call: { id: "a" }, result: "5" }),
    event("content", "3.1", { delta: "Five." }),
    event("finish", "4", { usage: { total_tokens: 12 } }),
  ]);
  expect(answer.parts).toMatchObject([
    { kind: "text", text: "Let me see." },
    { kind: "call", name: "calculator", result: "5", state: "done" },
    { kind: "text", text: "Five." },
  ]);
  expect(answer).toMatchObject({ status: "completed", agent: "general", model: "small", tokens: 12 });
  expect(textOf(answer.parts)).toBe("Let me see.\n\nFive.");
  expect(isEnded(answer)).toBe(true);
});

test("a reset takes back what came after its position, and nothing is told twice", () => {
  let events: readonly RunEvent[] = [];
  for (const one of [
    event("started", "1"),
    event("content", "1.3", { delta: "abc" }),
    event("content", "1.6", { delta: "def" }),
    event("reset", "1.6", { since: "1.3" }),
    event("content", "1.5", { delta: "DE" }),
  ]) {
    events = addEvent(events, one);
  }
  expect(textOf(fold(events).parts)).toBe("abcDE");
});

test("a call waits, is decided, and goes on; a run that is tried again says when", () => {
  const waiting = fold([
    event("tool_call", "1", { tool_call: call("a", "http_request", "{}") }),
    event("pending_approval", "2", { tool_call: call("a", "http_request", "{}") }),
  ]);
  expect(waiting).toMatchObject({ status: "waiting", parts: [{ state: "waiting" }] });
  const resumed = applyEvent(waiting, event("resumed", "3"));
  expect(resumed).toMatchObject({ status: "running", parts: [{ state: "running" }] });
  const retrying = applyEvent(resumed, event("retrying", "4", { in_ms: 12_000, error: "busy" }));
  expect(retrying).toMatchObject({ retriesInMs: 12_000, error: "busy" });
  expect(applyEvent(retrying, event("failed", "5", { error: "gone", error_reason: "MODEL_FAILED" }))).toMatchObject({
    status: "failed",
    retriesInMs: 0,
    errorReason: "MODEL_FAILED",
  });
});
