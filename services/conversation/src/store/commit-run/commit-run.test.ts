import { timestampMs } from "@bufbuild/protobuf/wkt";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor, toolCall } from "../../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../../testing/use-conversation.ts";

useConversation();

/** All rows that a commit could have changed. */
async function everything(conversationId: string | undefined) {
  const { rows } = await fixture.pool.query(
    `select to_json(c) as conversation, to_json(r) as run,
       (select json_agg(m) from messages m where m.conversation_id = c.id) as messages,
       (select json_agg(e) from run_events e where e.run_id = r.run_id) as events,
       (select json_agg(a) from approvals a where a.run_id = r.run_id) as approvals
     from conversations c join runs r on r.conversation_id = c.id where c.id = $1`,
    [conversationId],
  );
  return rows;
}

describe("a step", () => {
  test("stores messages, events, counters and position together", async () => {
    const context = await person.begin();
    const id = uuidv7();
    const step = await person.commit(context, {
      status: RunStatus.RUNNING,
      node: "act",
      state: '{"messages": [2],  "note": "\\u0000"}',
      messages: [
        {
          id,
          role: "assistant",
          content: "Let me see.",
          toolCalls: [toolCall("c1")],
          promptTokens: 10,
          completionTokens: 5,
          latencyMs: 70,
        },
      ],
      events: [
        { type: "tool_intent", payload: '{"call_id":"c1"}' },
        { type: "note", payload: "" },
      ],
      usage: { promptTokens: 10, completionTokens: 5, totalTokens: 15 },
      cost: 0.25,
      toolCalls: 1,
      model: "gpt-x",
      agent: "coder",
    });
    expect(step.messages).toMatchObject([{ id, sequenceNumber: 2, conversationId: context.conversation?.id }]);
    const end = await person.commit(context, {
      status: RunStatus.COMPLETED,
      messages: [
        { id: uuidv7(), role: "tool", toolCallId: "c1", name: "http_request", content: "{}" },
        { id: uuidv7(), role: "assistant", content: "Done." },
      ],
      events: [{ type: "completed", payload: "{}" }],
      usage: { promptTokens: 20, completionTokens: 1 },
      cost: 0.5,
    });
    expect(end.messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual([3, 4]);
    const { conversation, messages } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
    expect(conversation).toMatchObject({
      status: "active",
      messageCount: 4,
      toolCallCount: 1,
      totalTokens: 36,
      totalCost: 0.75,
      model: "gpt-x",
      agentType: "",
      currentNode: "",
    });
    expect(messages.slice(1)).toEqual([...step.messages, ...end.messages]);
    const [row] = await everything(conversation?.id);
    expect(row.run).toMatchObject({
      status: "completed",
      seq: 3,
      agent: "coder",
      prompt_tokens: 30,
      total_tokens: 36,
      cost: 0.75,
    });
    expect(row.events.map(({ seq, type }: { seq: number; type: string }) => [seq, type])).toEqual([
      [1, "tool_intent"],
      [2, "note"],
      [3, "completed"],
    ]);
    const state = await fixture.pool.query("select state::text from runs where run_id = $1", [context.run?.id]);
    expect(state.rows[0].state).toBe('{"messages": [2],  "note": "\\u0000"}');
  });

  test("keeps text of any kind, and replaces only what PostgreSQL cannot store", async () => {
    const context = await person.begin();
    const content = "quote ' \" \\ \\u0041 😀 \u2028 {} \n\t";
    await person.commit(context, {
      status: RunStatus.COMPLETED,
      messages: [
        { role: "assistant", content, toolCalls: [{ id: "c", function: { name: "f", arguments: '{"a":"\\u0000"}' } }] },
        { role: "tool", toolCallId: "c", content: "nul\0 half\ud83d" },
      ],
    });
    const { messages } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
    expect(messages[1]).toMatchObject({
      content,
      toolCalls: [{ id: "c", type: "function", function: { arguments: '{"a":"\\u0000"}' } }],
    });
    expect(messages[2]?.content).toBe("nul\ufffd half\ufffd");
  });

  test("leaves a conversation whose run failed open for the next message", async () => {
    const context = await person.begin();
    await person.commit(context, { status: RunStatus.FAILED, error: "The model does not answer." });
    const conversationId = context.conversation?.id;
    expect((await person.begin({ conversationId })).conversation).toMatchObject({ status: "active", messageCount: 2 });
  });

  test("that parks stores the pending calls", async () => {
    const context = await person.begin();
    await person.park(context, ["b", "a"]);
    const conversationId = context.conversation?.id;
    const { conversation, pendingApprovals } = await person.conversations.getConversation({ conversationId });
    expect(conversation).toMatchObject({ status: "pending_approval", currentNode: "approve" });
    expect(pendingApprovals).toMatchObject([
      { callId: "b", runId: context.run?.id, conversationId, toolName: "http_request", toolVersion: "3", status: "pending" },
      { callId: "a", arguments: '{"url": "https://example.com/a"}' },
    ]);
  });

  test("that is committed again after a lost response is not committed twice", async () => {
    const context = await person.begin();
    const step = {
      status: RunStatus.RUNNING,
      seq: 0,
      messages: [
        { id: uuidv7(), role: "assistant", content: "a" },
        { id: uuidv7(), role: "tool", content: "b", toolCallId: "c" },
      ],
      events: [{ type: "tool_intent", messages: 2 }],
    };
    const first = await person.commit(context, step);
    const second = await person.commit(context, step);
    expect(second.messages).toEqual(first.messages);
    expect(second.seq).toBe(1);
    const { messages } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
    expect(messages.map(({ content }) => content)).toEqual(["Hello", "a", "b"]);
    // Another worker's commit in between is not mistaken for it.
    expect(await reasonFor(person.commit(context, { ...step, events: [{ type: "parked", messages: 2 }] }))).toBe(
      ErrorReason.STALE_EPOCH,
    );
  });

  test("is read back from the log with the messages that it reports", async () => {
    const context = await person.begin();
    const message = (content: string) => ({ id: uuidv7(), role: "assistant", content });
    await person.commit(context, {
      status: RunStatus.RUNNING,
      messages: [message("a"), message("b"), message("c")],
      events: [
        { type: "first", messages: 1 },
        { type: "second", messages: 2, payload: '{"k":1}' },
      ],
    });
    const runId = context.run?.id ?? "";
    const { run, events } = await person.journal.readRunLog({ runId, after: 0 });
    expect(run).toMatchObject({ status: "running", lastEventId: "2" });
    expect(events.map(({ seq, type, payload, messages }) => [seq, type, payload, messages.map((m) => m.content)])).toEqual([
      [1, "first", "", ["a"]],
      [2, "second", '{"k":1}', ["b", "c"]],
    ]);
    expect((await person.journal.readRunLog({ runId, after: 1 })).events).toHaveLength(1);
    expect(await reasonFor(fixture.person().journal.readRunLog({ runId, after: 0 }))).toBe(ErrorReason.NOT_FOUND);
  });
});

test("messages have the times at which they were made, in the first response, its repetition and the record", async () => {
  const context = await person.begin();
  const step = {
    status: RunStatus.COMPLETED,
    seq: 0,
    messages: [
      { id: uuidv7(), role: "tool", toolCallId: "c", content: "5" },
      { id: uuidv7(), role: "assistant", content: "Five." },
    ],
    events: [{ type: "completed", payload: "{}", messages: 2 }],
  };
  const first = await person.commit(context, { ...step, messageAgesMs: [60_000] });
  const [tool = 0, answer = 0] = first.messages.map(({ createdAt }) => (createdAt ? timestampMs(createdAt) : 0));
  expect(answer - tool).toBe(60_000);
  // A repetition comes later, and its messages are older by then.
  expect((await person.commit(context, { ...step, messageAgesMs: [95_000, 35_000] })).messages).toEqual(first.messages);
  const { messages } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
  expect(messages.slice(1)).toEqual(first.messages);
  const { events } = await person.journal.readRunLog({ runId: context.run?.id ?? "", after: 0 });
  expect(events[0]?.createdAt).toEqual(first.messages[1]?.createdAt);
});

describe("the fence", () => {
  test("stops a stale epoch, an ended run and a parked one; nothing is written", async () => {
    const context = await person.begin();
    const messages = [{ role: "assistant", content: "late" }];
    const late = (epoch: number) =>
      reasonFor(
        person.commit(context, {
          epoch,
          status: RunStatus.WAITING,
          messages,
          events: [{ type: "late" }],
          approvals: [{ callId: "late", toolName: "t", arguments: "{}" }],
          usage: { totalTokens: 1 },
        }),
      );
    let before = await everything(context.conversation?.id);
    expect(await late(0)).toBe(ErrorReason.STALE_EPOCH);
    expect(await late(2)).toBe(ErrorReason.STALE_EPOCH);
    expect(await everything(context.conversation?.id)).toEqual(before);
    await person.park(context, ["c1"]);
    before = await everything(context.conversation?.id);
    expect(await late(1)).toBe(ErrorReason.STALE_EPOCH);
    expect(await everything(context.conversation?.id)).toEqual(before);

    const ended = await person.begin();
    await person.answer(ended);
    before = await everything(ended.conversation?.id);
    expect(await reasonFor(person.answer(ended))).toBe(ErrorReason.STALE_EPOCH);
    expect(await everything(ended.conversation?.id)).toEqual(before);
  });

  test("hides another user's run and an unknown one", async () => {
    const context = await person.begin();
    const before = await everything(context.conversation?.id);
    expect(await reasonFor(fixture.person().answer(context))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(person.commit(context, { runId: uuidv7(), status: RunStatus.FAILED }))).toBe(ErrorReason.NOT_FOUND);
    expect(await everything(context.conversation?.id)).toEqual(before);
  });

  test("lets one of twenty racing final steps through", async () => {
    const context = await person.begin();
    const reasons = await Promise.all(Array.from({ length: 20 }, () => reasonFor(person.answer(context))));
    expect(reasons.filter((reason) => reason === undefined)).toHaveLength(1);
    expect(reasons.filter((reason) => reason === ErrorReason.STALE_EPOCH)).toHaveLength(19);
    const { messages } = await person.conversations.getConversation({ conversationId: context.conversation?.id });
    expect(messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual([1, 2]);
  });
});

const approval = { callId: "c", toolName: "t", arguments: "{}" };
test.each([
  { param: "messages[0].role", init: { status: RunStatus.RUNNING, messages: [{ role: "robot" }] } },
  { param: "messages[0].id", init: { status: RunStatus.RUNNING, messages: [{ role: "user", id: "1" }] } },
  { param: "events[0].type", init: { status: RunStatus.RUNNING, events: [{}] } },
  { param: "error", init: { status: RunStatus.COMPLETED, error: "no" } },
  { param: "approvals", init: { status: RunStatus.RUNNING, approvals: [approval] } },
  { param: "approvals", init: { status: RunStatus.WAITING } },
  { param: "approvals[1].call_id", init: { status: RunStatus.WAITING, approvals: [approval, approval] } },
  { param: "approvals[0].tool_name", init: { status: RunStatus.WAITING, approvals: [{ callId: "c" }] } },
  { param: "", init: { status: RunStatus.RUNNING, state: "{" } },
  { param: "", init: { status: RunStatus.RUNNING, messages: [{ role: "user" }], events: [{ type: "x", payload: "no" }] } },
  { param: "status", init: {} },
  { param: "usage.total_tokens", init: { status: RunStatus.RUNNING, usage: { totalTokens: 12.5 } } },
  { param: "usage.prompt_tokens", init: { status: RunStatus.RUNNING, usage: { promptTokens: -1 } } },
  { param: "usage.completion_tokens", init: { status: RunStatus.RUNNING, usage: { completionTokens: 2 ** 31 } } },
  {
    param: "messages[0].prompt_tokens",
    init: { status: RunStatus.RUNNING, messages: [{ role: "user", promptTokens: Number.NaN }] },
  },
  { param: "messages[0].latency_ms", init: { status: RunStatus.RUNNING, messages: [{ role: "user", latencyMs: 1.5 }] } },
  { param: "message_ages_ms[1]", init: { status: RunStatus.RUNNING, messageAgesMs: [0, 0.5] } },
  { param: "tool_calls", init: { status: RunStatus.RUNNING, toolCalls: 2 ** 40 } },
  { param: "cost", init: { status: RunStatus.RUNNING, cost: Number.POSITIVE_INFINITY } },
  { param: "cost", init: { status: RunStatus.RUNNING, cost: -1 } },
])("a malformed step is refused as a whole, case %#: $param", async ({ param, init }) => {
  const context = await person.begin();
  const before = await everything(context.conversation?.id);
  const error = await person.commit(context, init).catch((error: unknown) => error);
  expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
  expect(await everything(context.conversation?.id)).toEqual(before);
});
