import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";

useConversation({ max: 4 });

const keyed = (key: string) => ({ headers: { "idempotency-key": key } });

/** A conversation with two rounds, the first of which calls a tool. */
async function conversationOf(person: Person): Promise<string> {
  const context = await person.begin({ message: "Send it", agentType: "coder" });
  await person.commit(context, {
    status: RunStatus.COMPLETED,
    messages: [
      { role: "assistant", toolCalls: [toolCall("c1")], reasoning: "hm", providerFields: '{"signature":"s"}', model: "m" },
      { role: "tool", toolCallId: "c1", name: "http_request", content: "200" },
      { role: "assistant", content: "Sent.", promptTokens: 7, completionTokens: 3, finishReason: "stop" },
    ],
    usage: { totalTokens: 10 },
    cost: 0.5,
    toolCalls: 1,
  });
  const conversationId = context.conversation?.id ?? "";
  await person.answer(await person.begin({ conversationId, message: "Thanks" }));
  return conversationId;
}

describe("a copy", () => {
  test("has the messages before a number, and goes on for itself", async () => {
    const person = fixture.person();
    const conversationId = await conversationOf(person);
    await person.conversations.updateConversation({ conversationId, title: "Mail", archived: true });
    const before = await person.conversations.getConversation({ conversationId });
    const { conversation } = await person.conversations.forkConversation({ conversationId, beforeSequence: 5 });
    expect(conversation).toMatchObject({
      userId: person.userId,
      title: "Mail",
      agentType: "coder",
      status: "active",
      messageCount: 4,
      totalTokens: 0,
      totalCost: 0,
      archived: false,
    });
    const id = conversation?.id ?? "";
    const copy = await person.conversations.getConversation({ conversationId: id });
    const same = before.messages.slice(0, 4).map((message) => ({ ...message, conversationId: id, runId: "" }));
    expect(copy.messages.map((message, index) => ({ ...message, id: same[index]?.id }))).toEqual(same);
    const ids = [...before.messages, ...copy.messages].map((message) => message.id);
    expect(new Set(ids).size).toBe(10);
    for (const one of ids) expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const next = await person.begin({ conversationId: id, message: "Thank you" });
    expect(next.messages.map(({ content }) => content)).toEqual(["Send it", "", "200", "Sent.", "Thank you"]);
    expect(next.messages[1]?.providerFields).toBe('{"signature":"s"}');
    expect(await person.conversations.getConversation({ conversationId })).toEqual(before);
    const list = await person.conversations.listConversations({});
    expect([list.total, list.conversations.map((one) => one.id)]).toEqual([2, [id]]);
  });

  test("may have no message, or all of them", async () => {
    const person = fixture.person();
    const conversationId = await conversationOf(person);
    const none = await person.conversations.forkConversation({ conversationId, beforeSequence: 1 });
    const all = await person.conversations.forkConversation({ conversationId, beforeSequence: 7 });
    expect([none.conversation?.messageCount, all.conversation?.messageCount]).toEqual([0, 6]);
    const next = await person.begin({ conversationId: none.conversation?.id, message: "Anew" });
    expect(next.messages).toMatchObject([{ content: "Anew", sequenceNumber: 1 }]);
  });

  test("is one under one key, however often and at once", async () => {
    const person = fixture.person();
    const conversationId = await conversationOf(person);
    const key = uuidv7();
    const fork = (beforeSequence: number) =>
      person.conversations.forkConversation({ conversationId, beforeSequence }, keyed(key));
    const copies = await Promise.all(Array.from({ length: 5 }, () => fork(3)));
    expect(new Set(copies.map(({ conversation }) => conversation?.id)).size).toBe(1);
    expect(await reasonFor(fork(2))).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
    expect((await person.conversations.listConversations({})).total).toBe(2);
  });

  test("is not made of another user's, an unknown or a deleted conversation", async () => {
    const [owner, other] = [fixture.person(), fixture.person()];
    const conversationId = await conversationOf(owner);
    const reason = (person: Person, id: string) =>
      reasonFor(person.conversations.forkConversation({ conversationId: id, beforeSequence: 1 }));
    expect(await reason(other, conversationId)).toBe(ErrorReason.NOT_FOUND);
    expect(await reason(owner, uuidv7())).toBe(ErrorReason.NOT_FOUND);
    await owner.conversations.deleteConversation({ conversationId });
    expect(await reason(owner, conversationId)).toBe(ErrorReason.NOT_FOUND);
    expect((await other.conversations.listConversations({})).total).toBe(0);
  });

  test.each([0, -1, 8, 2_147_483_647])("before the message %d is refused by name", async (beforeSequence) => {
    const person = fixture.person();
    const conversationId = await conversationOf(person);
    const error = await person.conversations
      .forkConversation({ conversationId, beforeSequence })
      .catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "before_sequence" });
  });

  test("of too many messages or too much text is refused, and leaves no row", async () => {
    const person = fixture.person();
    const conversationId = await conversationOf(person);
    const fork = (beforeSequence: number) => person.conversations.forkConversation({ conversationId, beforeSequence });
    await fixture.pool.query("update conversations set message_count = 20000 where id = $1", [conversationId]);
    expect(await reasonFor(fork(10_002))).toBe(ErrorReason.TOO_LARGE);
    await fixture.pool.query(
      "update messages set content = repeat('x', 34000000) where conversation_id = $1 and sequence_number = 4",
      [conversationId],
    );
    expect(await reasonFor(fork(5))).toBe(ErrorReason.TOO_LARGE);
    expect((await person.conversations.listConversations({})).total).toBe(1);
    expect((await fork(4)).conversation?.messageCount).toBe(3);
  });
});

test("a user's connection adds rows to that user's conversations only", async () => {
  const [owner, other] = [fixture.person(), fixture.person()];
  const conversationId = await conversationOf(owner);
  const insert = (sql: string, ...values: unknown[]) =>
    fixture.database.users
      .as(other.userId, (db) => db.query(sql, values))
      .then(
        () => "done",
        (error: Error) => error.message,
      );
  const message = "insert into messages (conversation_id, id, sequence_number, role) values ($1, gen_random_uuid(), 99, 'user')";
  expect(await insert(message, conversationId)).toMatch(/row-level security/);
  const conversation = "insert into conversations (id, user_id) values (gen_random_uuid(), $1)";
  expect(await insert(conversation, owner.userId)).toMatch(/row-level security/);
  expect(await insert("insert into user_totals (user_id) values ($1)", uuidv7())).toMatch(/row-level security/);
  expect(await insert(conversation, other.userId)).toBe("done");
});
