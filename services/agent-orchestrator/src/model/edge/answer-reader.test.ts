import { streamedFrames } from "@turnwright/testing/scripted-model";
import { expect, test } from "vitest";
import { AnswerReader } from "./answer-reader.ts";

async function read(frames: readonly string[]) {
  const deltas: string[] = [];
  const reader = new AnswerReader();
  for (const frame of frames) {
    const { out = [], failure } = reader.push(Buffer.from(frame));
    deltas.push(...out.map(({ delta }) => delta));
    if (failure !== undefined) throw failure;
  }
  const { failure } = reader.end();
  if (failure !== undefined) throw failure;
  return { answer: reader.answer, usage: reader.usage, deltas };
}

test("an answer is read with its text, calls, usage and model", async () => {
  const reply = {
    text: "Let me see",
    calls: [{ id: "a", name: "calculator", arguments: '{"expression":"1+1"}' }],
    model: "gpt-x",
  };
  const { answer, usage, deltas } = await read(streamedFrames(reply));
  expect(deltas).toEqual(["Let", " me", " see"]);
  expect(answer).toEqual({
    content: "Let me see",
    toolCalls: [{ id: "a", type: "function", function: { name: "calculator", arguments: '{"expression":"1+1"}' } }],
    finishReason: "tool_calls",
    model: "gpt-x",
    reasoning: "",
    providerFields: "",
  });
  expect(usage).toEqual({ prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 });
});

test("usage that an endpoint reports on every chunk is not counted twice", async () => {
  const usage = (total_tokens: number) => ({ usage: { prompt_tokens: 1, completion_tokens: total_tokens - 1, total_tokens } });
  const frames = [
    { choices: [{ delta: { content: "a" } }], ...usage(2) },
    { choices: [{ delta: { content: "b" }, finish_reason: "stop" }], ...usage(3) },
  ].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  expect((await read(frames)).usage?.total_tokens).toBe(3);
});

test("a cut answer is not taken for a whole one", async () => {
  const cut = { text: "half an answer", finishReason: null, withoutDone: true };
  await expect(read(streamedFrames(cut))).rejects.toThrow("ended before its answer did");
});

test.each(["", undefined, null])("a tool call whose name is %j is told as a problem and no exception", async (name) => {
  const call = { index: 0, id: "call_1", function: { name, arguments: "{}" } };
  const frames = [
    { choices: [{ delta: { tool_calls: [call] } }] },
    { choices: [{ delta: {}, finish_reason: "tool_calls" }] },
  ].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  expect((await read(frames)).answer.toolCalls).toEqual([
    { id: "call_1", type: "function", function: { name: "", arguments: "{}" }, problem: "The call names no tool." },
  ]);
});
