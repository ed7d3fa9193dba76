import { create as createMessage } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { expectStrict } from "../../testing/history.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, create, failureOf, lastCommit, mesh, sent, streamEvents, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator({ LLM_CONTEXT_WINDOW: "8192" });

const say = (message: string) => mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message }, asUser);
const brief = (index: number) =>
  sent(index)
    .messages.slice(1)
    .map(({ role, content }) => `${role} ${content}`);

describe("the history of a run", () => {
  test("alternates after failed runs, and the conversation goes on", async () => {
    mesh.model.reply({ text: "hi" }, { status: 400, error: "boom" }, { status: 400, error: "boom" }, { text: "again" });
    await create("one");
    for (const message of ["two", "three"]) {
      expect((await failureOf(say(message))).reason).toBe(ErrorReason.MODEL_REJECTED);
    }
    expect(await say("four")).toMatchObject({ response: "again" });
    const note = "assistant [This message was not answered.]";
    expect(brief(3)).toEqual(["user one", "assistant hi", "user two", note, "user three", note, "user four"]);
    expectStrict(sent(3).messages);
  });

  test("has a result for each call after a run that failed in its tool round", async () => {
    mesh.model.reply(callsFor("calculator", "web_search"), { status: 500 }, { status: 500 }, { status: 500 }, { text: "done" });
    await failureOf(create("one"));
    mesh.journal.messages.splice(3, 1);
    expect(await say("two")).toMatchObject({ response: "done" });
    const last = sent(mesh.model.requests.length - 1).messages;
    expect(last.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool", "tool", "assistant", "user"]);
    expectStrict(last);
  });

  test("has the beginning and the end of a large result; the stored message is whole", async () => {
    const output = JSON.stringify({ text: "x".repeat(500_000), last: "end" });
    mesh.onExecute(() => ({ status: 1, output }));
    mesh.model.reply(callsFor("calculator"), { text: "done" }, { text: "hi" });
    await create("read the file");
    const result = String(sent(1).messages.at(-1)?.content);
    expect(result.length).toBeLessThan(8_192 * 3);
    expect(result).toMatch(/^\{"text":"x+\n\[Left out here: \d{6} bytes\]\nx+","last":"end"\}$/);
    expect(mesh.journal.messages.find(({ role }) => role === "tool")?.content).toBe(output);
    expect(await say("next")).toMatchObject({ response: "hi" });
    expect(mesh.model.requests[2]?.bytes.length).toBeLessThan(8_192 * 3);
  });

  test("has the fields that the provider of an earlier answer wants back", async () => {
    const providerFields = JSON.stringify({
      provider: "default",
      family: "gpt",
      message: { reasoning_content: "I should calculate." },
      calls: [{ extra_content: { google: { thought_signature: "c2ln" } } }],
    });
    const { conversation, messages } = mesh.journal;
    const store = (init: object) => {
      messages.push(createMessage(MessageSchema, { id: String(messages.length), conversationId: conversation.id, ...init }));
    };
    store({ role: "user", content: "one" });
    const call = { id: "c1", type: "function", function: { name: "calculator", arguments: "{}" } };
    store({ role: "assistant", toolCalls: [call], providerFields });
    store({ role: "tool", toolCallId: "c1", content: "5" });
    store({ role: "assistant", content: "It is 5." });
    mesh.model.reply({ text: "hi" });
    await say("two");
    expect(sent(0).messages[2]).toMatchObject({
      reasoning_content: "I should calculate.",
      tool_calls: [{ id: "c1", extra_content: { google: { thought_signature: "c2ln" } } }],
    });
  });

  test("is sent with the tools, and without settings of sampling that nobody made", async () => {
    mesh.model.reply({ text: "hi" });
    await create(`one ${"word ".repeat(2_000)}`);
    expect(sent(0).tools?.length).toBeGreaterThan(0);
    for (const setting of ["max_tokens", "max_completion_tokens", "temperature"]) expect(sent(0)).not.toHaveProperty(setting);
  });
});

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ model: "thinker", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const signed = {
  index: 0,
  id: "c1",
  type: "function",
  extra_content: { google: { thought_signature: "c2ln" } },
  function: { name: "calculator", arguments: "{}" },
};
const reasoned = {
  contentType: "text/event-stream",
  raw: [
    chunk({ role: "assistant", content: null, reasoning_content: "I should " }),
    chunk({ reasoning_content: "calculate." }),
    chunk({ tool_calls: [signed] }),
    chunk({}, "tool_calls"),
    "data: [DONE]\n\n",
  ],
};

describe("the reasoning of a model", () => {
  test("and the signatures of its calls go back to it, in this run and in the next", async () => {
    mesh.model.reply(reasoned, { text: "It is 5." }, { text: "Yes." });
    await create("What is 2 + 3?");
    await say("Sure?");
    const { index: _index, ...call } = signed;
    const expected = { role: "assistant", content: null, reasoning_content: "I should calculate.", tool_calls: [call] };
    for (const request of [1, 2]) expect(sent(request).messages[2]).toEqual(expected);
    expect(mesh.journal.messages[1]).toMatchObject({ reasoning: "I should calculate.", content: "", finishReason: "tool_calls" });
  });

  test("is told apart from the answer in the run's events", async () => {
    mesh.model.reply(reasoned, { text: "It is 5." });
    const events = await streamEvents();
    expect(events.map(({ type, delta }) => (delta === "" ? type : `${type} ${delta}`))).toEqual([
      "started",
      "reasoning I should ",
      "reasoning calculate.",
      "tool_call",
      "tool_result",
      "content It",
      "content  is",
      "content  5.",
      "finish stop",
    ]);
    expect(events.at(-1)?.message).toMatchObject({ content: "It is 5.", reasoning: "", providerFields: "" });
  });
});

test("the fields of one family of models are not sent to a model of another at the same provider", async () => {
  mesh.model.reply(reasoned, { text: "It is 5." }, { text: "Yes." });
  await create("What is 2 + 3?");
  const { id: conversationId } = mesh.journal.conversation;
  await mesh.agent.sendMessage({ conversationId, message: "Sure?", model: "another-1" }, asUser);
  expect(sent(2).model).toBe("another-1");
  expect(JSON.stringify(sent(2).messages)).not.toMatch(/reasoning_content|thought_signature/);
});

describe("an answer that was cut at its limit", () => {
  test("says so in its message, its run and its stream", async () => {
    mesh.model.reply(
      { text: "The first half of", finishReason: "length" },
      { text: "The first half of", finishReason: "length" },
    );
    expect(await create()).toMatchObject({ message: { finishReason: "length", content: "The first half of" } });
    expect(lastCommit()).toMatchObject({ finishReason: "length", messages: [{ finishReason: "length" }] });
    const events = await streamEvents();
    expect(events.at(-1)).toMatchObject({ type: "finish", delta: "length", message: { finishReason: "length" } });
  });
});
