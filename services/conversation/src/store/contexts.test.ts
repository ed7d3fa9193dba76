import { toBinary } from "@bufbuild/protobuf";
import { RunContextSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";
import { maxContextBytes, maxContextTextBytes } from "./messages.ts";

useConversation({ max: 4 });

/** A conversation whose last messages have these roles and contents. */
async function conversationWith(rows: readonly { role: string; content: string; toolCallId?: string; calls?: string[] }[]) {
  const context = await person.begin();
  const messages = rows.map(({ calls = [], ...row }) => ({ id: uuidv7(), ...row, toolCalls: calls.map(toolCall) }));
  await person.commit(context, { status: RunStatus.COMPLETED, messages });
  return context.conversation?.id ?? "";
}

describe("an answer", () => {
  test("is stored with its finish reason, its reasoning and the provider's fields; the run and the conversation say why it ended", async () => {
    const context = await person.begin();
    const message = {
      id: uuidv7(),
      role: "assistant",
      content: "The first half",
      finishReason: "length",
      reasoning: "I think \0 so.",
      providerFields: '{"provider":"p","message":{"reasoning_content":"I think \\u0000 so."}}',
    };
    const finishReason = "length";
    const committed = await person.commit(context, { status: RunStatus.COMPLETED, finishReason, messages: [message] });
    const conversationId = context.conversation?.id ?? "";
    const seen = { finishReason, reasoning: "I think \ufffd so.", providerFields: "" };
    expect(committed.messages[0]).toMatchObject(seen);
    const got = await person.conversations.getConversation({ conversationId });
    expect(got.conversation).toMatchObject({ finishReason });
    expect(got.messages[1]).toMatchObject(seen);
    expect((await person.conversations.listMessages({ conversationId })).messages[1]).toMatchObject(seen);
    expect((await person.conversations.listConversations({})).conversations[0]).toMatchObject({ finishReason });
    const { run } = await person.conversations.getRun({ runId: context.run?.id });
    expect(run).toMatchObject({ finishReason, status: "completed" });

    const next = await person.begin({ conversationId });
    expect(next.messages[1]).toMatchObject({ providerFields: message.providerFields, finishReason });
    await person.commit(next, { status: RunStatus.FAILED, error: "It failed." });
    const { conversation } = await person.conversations.getConversation({ conversationId });
    expect(conversation).toMatchObject({ finishReason });
    expect((await person.conversations.getRun({ runId: next.run?.id })).run).toMatchObject({ finishReason: "" });
  });

  test("is in the run's log without the provider's fields", async () => {
    const context = await person.begin();
    const message = { id: uuidv7(), role: "assistant", reasoning: "Hm.", providerFields: '{"provider":"p"}' };
    await person.commit(context, {
      status: RunStatus.COMPLETED,
      messages: [message],
      events: [{ type: "completed", payload: "{}", messages: 1 }],
    });
    const { events } = await person.journal.readRunLog({ runId: context.run?.id });
    expect(events[0]?.messages[0]).toMatchObject({ reasoning: "Hm.", providerFields: "" });
  });

  test("is read from the log in as many pieces as its size takes", async () => {
    const context = await person.begin();
    const content = "x".repeat(1_900_000);
    for (let seq = 0; seq < 5; seq += 1) {
      const messages = [{ id: uuidv7(), role: "tool", content }];
      await person.commit(context, { status: RunStatus.RUNNING, messages, events: [{ type: "tool_intent", messages: 1 }] });
    }
    const read = async (after: number) => (await person.journal.readRunLog({ runId: context.run?.id, after })).events;
    expect((await read(0)).map(({ seq }) => seq)).toEqual([1, 2]);
    expect((await read(2)).map(({ seq }) => seq)).toEqual([3, 4]);
    expect((await read(4)).map(({ seq }) => seq)).toEqual([5]);
  });

  test("has a finish reason only at the end of its run", async () => {
    const context = await person.begin();
    const early = person.commit(context, { status: RunStatus.RUNNING, finishReason: "stop" });
    expect(await reasonFor(early)).toBe(ErrorReason.INVALID_REQUEST);
  });
});

describe("the context of a run", () => {
  test("has the newest whole rounds within its bytes, and is as large as before for small messages", async () => {
    const size = 200_000;
    const rows = Array.from({ length: 30 }, (_, index) => ({ role: "assistant", content: `${index}`.padEnd(size, "x") }));
    const conversationId = await conversationWith(rows);
    const { messages } = await person.begin({ conversationId, message: "next" });
    expect(messages).toHaveLength(1 + Math.floor(maxContextBytes / size));
    expect(messages.map(({ content }) => Number.parseInt(content, 10))).toEqual([...rows.keys()].slice(-10).concat(Number.NaN));
  });

  test("has the beginning and the end of a very long result, which stays whole where it is stored", async () => {
    const content = `begin${"é".repeat(1_000_000)}end`;
    const rows = [
      { role: "assistant", content: "", calls: ["c1"] },
      { role: "tool", content, toolCallId: "c1" },
      { role: "assistant", content: "done" },
    ];
    const conversationId = await conversationWith(rows);
    const { messages } = await person.begin({ conversationId, message: "next" });
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant", "user"]);
    const result = messages[2]?.content ?? "";
    expect(Buffer.byteLength(result)).toBeLessThanOrEqual(maxContextTextBytes);
    expect(result).toMatch(/^begin.*\n\[Left out here: \d+ bytes\]\n.*end$/s);
    const missing = Number(/here: (\d+)/.exec(result)?.[1]);
    expect(missing + Buffer.byteLength(result.replace(/\n\[.*\]\n/, ""))).toBe(Buffer.byteLength(content));
    const stored = await person.conversations.listMessages({ conversationId });
    expect(stored.messages[2]?.content.length).toBe(content.length);
  });

  test("that is claimed again has its last round, however large its calls are", async () => {
    const context = await person.begin();
    const calls = Array.from({ length: 12 }, (_, index) => {
      const args = JSON.stringify({ text: "x".repeat(250_000) });
      return { id: `c${index}`, type: "function", function: { name: "t", arguments: args } };
    });
    await person.commit(context, {
      status: RunStatus.WAITING,
      messages: [{ id: uuidv7(), role: "assistant", toolCalls: calls }],
      approvals: [{ callId: "c0", toolName: "t", arguments: "{}" }],
    });
    const conversationId = context.conversation?.id;
    const { context: resumed } = await person.journal.decideApprovals({ conversationId, approved: true });
    expect(resumed?.messages.at(-1)?.toolCalls).toHaveLength(12);
  });

  test("that is claimed again has its last round with its results, whose arguments are all quotes", async () => {
    const context = await person.begin({ message: "m".repeat(190_000) });
    const args = JSON.stringify({ text: '"'.repeat(125_000) });
    const calls = ["a", "b", "c", "d"].map((id) => ({ id, type: "function", function: { name: "t", arguments: args } }));
    const content = "r".repeat(250_000);
    const results = Array.from({ length: 16 }, (_, at) => ({
      id: uuidv7(),
      role: "tool",
      toolCallId: "abc"[at] ?? "x",
      content,
    }));
    await person.commit(context, {
      status: RunStatus.WAITING,
      messages: [{ id: uuidv7(), role: "assistant", toolCalls: calls, content }, ...results],
      approvals: [{ callId: "d", toolName: "t", arguments: args }],
    });
    const conversationId = context.conversation?.id;
    const { context: resumed } = await person.journal.decideApprovals({ conversationId, approved: true });
    expect(resumed?.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool", "tool"]);
    expect(resumed === undefined ? 0 : toBinary(RunContextSchema, resumed).length).toBeLessThan(8 * 1024 * 1024);
  });

  test("has new arguments of its calls up to 1 MiB together; beyond it the decision is refused by name", async () => {
    const context = await person.begin();
    await person.park(context, ["a", "b", "c"]);
    const conversationId = context.conversation?.id;
    const edit = (callId: string, length: number) => {
      const calls = [{ callId, approved: true, arguments: JSON.stringify({ text: "€".repeat(length / 3) }) }];
      return person.journal.decideApprovals({ conversationId, calls });
    };
    await edit("a", 600_000);
    const error = await edit("b", 600_000).catch((thrown: unknown) => thrown);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "arguments" });
    await edit("b", 300_000);
    const { context: resumed } = await edit("c", 90_000);
    expect(resumed?.decisions.map(({ arguments: text }) => Buffer.byteLength(text) > 90_000)).toEqual([true, true, true]);
  });

  test("comes with others in one response only as far as a mesh message takes them; the next heartbeats bring the rest", async () => {
    const workerId = uuidv7();
    const rows = Array.from({ length: 10 }, () => ({ role: "assistant", content: "x".repeat(190_000) }));
    const runIds = Array.from({ length: 5 }, () => uuidv7());
    for (const runId of runIds) {
      const conversationId = await conversationWith(rows);
      await person.journal.beginRun({ runId, conversationId, message: "next", workerId });
    }
    const driving: string[] = [];
    const claimedAtOnce: number[] = [];
    while (runIds.some((runId) => !driving.includes(runId)) && claimedAtOnce.length < 5) {
      // Runs of other tests would take room in the response.
      const mine = "case when owner = $1 then updated_at - interval '5 seconds' else now() end";
      await fixture.pool.query(`update runs set updated_at = ${mine} where status = 'running'`, [workerId]);
      const { claimed } = await person.journal.beat({ workerId, claimLimit: 8, graphVersion: 9, driving });
      const claimedIds = claimed.map(({ run }) => run?.id ?? "");
      driving.push(...claimedIds);
      claimedAtOnce.push(claimedIds.filter((id) => runIds.includes(id)).length);
    }
    expect(claimedAtOnce).toEqual([3, 2]);
  });

  test("of user messages is whole: the newest is never shortened", async () => {
    const message = "€".repeat(200_000);
    const first = await person.begin({ message });
    await person.answer(first);
    const { messages } = await person.begin({ conversationId: first.conversation?.id, message });
    expect(messages.map(({ content }) => content.length)).toEqual([200_000, 2, 200_000]);
  });
});
