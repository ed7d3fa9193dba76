import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { publicEvent } from "./public-event.ts";

const cutTo = (contentLimit: number) => ({ contentLimit, defaultModel: "default" });
const whole = { defaultModel: "default" };

test("an event has its time, and its texts are whole unless the reader limits them", () => {
  const frame = { type: "tool_result", result: "r".repeat(50_000), atMs: 1_500 };
  expect(publicEvent(frame, whole)).toMatchObject({ result: frame.result, at: timestampFromMs(1_500) });
  expect(publicEvent(frame, whole).truncatedBytes).toBeUndefined();
  expect(publicEvent({ type: "content", delta: "words" }, whole).at).toBeUndefined();
});

test("a limit cuts every long text of an event and tells how many bytes it cut", () => {
  const toolCall = { id: "c", type: "function", function: { name: "f", arguments: '{"a":"long"}' } };
  expect(publicEvent({ type: "tool_call", toolCall }, cutTo(5))).toMatchObject({
    toolCall: { id: "c", type: "function", function: { name: "f", arguments: '{"a":' } },
    truncatedBytes: 7,
  });
  const message = { role: "assistant", content: "äöü", reasoning: "because", model: "m" };
  expect(publicEvent({ type: "finish", message }, cutTo(2))).toMatchObject({
    message: { role: "assistant", content: "äö", reasoning: "be", model: "m" },
    truncatedBytes: 7,
  });
  expect(publicEvent({ type: "failed", error: "It broke off." }, cutTo(2))).toMatchObject({ error: "It", truncatedBytes: 11 });
});

test("a limit splits no character, leaves short texts and pieces of the answer alone, and may be 0", () => {
  const smile = { type: "tool_result", result: "a😀b" };
  expect(publicEvent(smile, cutTo(2))).toMatchObject({ result: "a", truncatedBytes: 5 });
  expect(publicEvent(smile, cutTo(3))).toMatchObject({ result: "a😀", truncatedBytes: 1 });
  expect(publicEvent(smile, cutTo(0))).toMatchObject({ result: "", truncatedBytes: 6 });
  expect(publicEvent(smile, cutTo(4)).truncatedBytes).toBeUndefined();
  expect(publicEvent({ type: "content", delta: "words" }, cutTo(1))).toMatchObject({ delta: "words" });
});

test("the start of a run tells its model: that of its row, else its agent's", () => {
  const started = { type: "started", agentType: "coder" };
  expect(publicEvent({ ...started, runModel: "asked" }, whole)).toMatchObject({ model: "asked", agentType: "coder" });
  expect(publicEvent(started, whole)).toMatchObject({ model: "default" });
  expect(publicEvent({ type: "started" }, whole)).toMatchObject({ model: "" });
});
