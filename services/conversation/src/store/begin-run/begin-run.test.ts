import { createHash } from "node:crypto";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor, toolCall } from "../../../testing/conversation.ts";
import { fixture, useConversation } from "../../../testing/use-conversation.ts";

useConversation();

async function expireRuns(conversationId: string | undefined) {
  await fixture.pool.query("update runs set deadline_at = now() - interval '1 second' where conversation_id = $1", [
    conversationId,
  ]);
}

describe("a new conversation", () => {
  test("is stored with its first message and a claimed run", async () => {
    const person = fixture.person();
    const runId = uuidv7();
    const context = await person.begin({ runId, message: "What is\n1337 * 42?", agentType: "coder", graphVersion: 7 });
    expect(context.run).toMatchObject({ id: runId, userId: person.userId, tokenId: person.tokenId, epoch: 1, graphVersion: 7 });
    expect(context.run?.status).toBe(RunStatus.RUNNING);
    expect(context.conversation).toMatchObject({
      title: "What is 1337 * 42?",
      status: "active",
      agentType: "coder",
      messageCount: 1,
    });
    expect(context.messages).toMatchObject([{ role: "user", content: "What is\n1337 * 42?", sequenceNumber: 1 }]);
    const conversationId = context.conversation?.id;
    const stored = await person.conversations.getConversation({ conversationId });
    expect(stored).toMatchObject({ conversation: context.conversation, messages: context.messages });
    expect(
      (await fixture.pool.query("select owner, deadline_at > now() as open from runs where run_id = $1", [runId])).rows,
    ).toEqual([{ owner: "agent-orchestrator", open: true }]);
  });

  test("takes a first message of any length", async () => {
    const message = `${"long ".repeat(50_000)}end`;
    const { conversation, messages } = await fixture.person().begin({ message });
    expect(conversation?.title).toHaveLength(99);
    expect(messages[0]?.content).toBe(message);
  });

  test("refuses NUL, which PostgreSQL cannot store, and stores nothing", async () => {
    const person = fixture.person();
    const error = await person.begin({ message: "a\0b" }).catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "message" });
    expect((await person.conversations.listConversations({})).total).toBe(0);
  });

  test("refuses a run id that is taken", async () => {
    const person = fixture.person();
    const { run } = await person.begin();
    expect(await reasonFor(person.begin({ runId: run?.id }))).toBe(ErrorReason.CONFLICT);
    expect((await person.conversations.listConversations({})).total).toBe(1);
  });
});

describe("another message", () => {
  test("gets the messages before it, numbered without gaps", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "one" });
    await person.answer(first, "two");
    const second = await person.begin({ conversationId: first.conversation?.id, message: "three", agentType: "ignored" });
    expect(second.messages.map(({ sequenceNumber, content }) => [sequenceNumber, content])).toEqual([
      [1, "one"],
      [2, "two"],
      [3, "three"],
    ]);
    expect(second.conversation).toMatchObject({ messageCount: 3, title: "one", agentType: "" });
  });

  test("gets no more than the requested newest messages, in whole rounds", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "send it" });
    await person.commit(first, {
      status: RunStatus.COMPLETED,
      messages: [
        { role: "assistant", toolCalls: [toolCall("c1"), toolCall("c2")] },
        { role: "tool", toolCallId: "c1", name: "http_request", content: "1" },
        { role: "tool", toolCallId: "c2", name: "http_request", content: "2" },
        { role: "assistant", content: "sent" },
      ],
    });
    const conversationId = first.conversation?.id;
    for (const [contextLimit, contents] of [
      [1, ["again"]],
      [2, ["sent", "again"]],
      [4, ["sent", "again"]],
      [0, ["send it", "", "1", "2", "sent", "again"]],
    ] as const) {
      const context = await person.begin({ conversationId, message: "again", contextLimit });
      expect(context.messages.map(({ content }) => content)).toEqual(contents);
      await fixture.pool.query("delete from runs where run_id = $1", [context.run?.id]);
      await fixture.pool.query("delete from messages where conversation_id = $1 and sequence_number > 5", [conversationId]);
      await fixture.pool.query("update conversations set message_count = 5, active_run_id = null where id = $1", [
        conversationId,
      ]);
    }
  });

  test("is refused in another user's, an unknown and a deleted conversation, and leaves no row", async () => {
    const [owner, other] = [fixture.person(), fixture.person()];
    const context = await owner.begin();
    await owner.answer(context);
    const conversationId = context.conversation?.id ?? "";
    expect(await reasonFor(other.begin({ conversationId }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(owner.begin({ conversationId: uuidv7() }))).toBe(ErrorReason.NOT_FOUND);
    expect((await owner.conversations.getConversation({ conversationId })).messages).toHaveLength(2);
    await owner.conversations.deleteConversation({ conversationId });
    expect(await reasonFor(owner.begin({ conversationId }))).toBe(ErrorReason.NOT_FOUND);
  });

  test("is refused while a run is live if it asks for that, and while one waits for approval", async () => {
    const person = fixture.person();
    const context = await person.begin();
    const conversationId = context.conversation?.id ?? "";
    expect(await reasonFor(person.begin({ conversationId, concurrency: "reject" }))).toBe(ErrorReason.CONVERSATION_BUSY);
    await person.park(context, ["c1"]);
    await expireRuns(conversationId);
    expect(await reasonFor(person.begin({ conversationId }))).toBe(ErrorReason.PENDING_APPROVAL);
    expect((await person.conversations.getConversation({ conversationId })).messages).toHaveLength(2);
  });

  test("takes the place of a run that has passed its deadline, whose owner is fenced off", async () => {
    const person = fixture.person();
    const lost = await person.begin({ message: "lost" });
    const conversationId = lost.conversation?.id ?? "";
    await expireRuns(conversationId);
    const next = await person.begin({ conversationId, message: "again" });
    expect(next.messages.map(({ content }) => content)).toEqual(["lost", "again"]);
    expect(await reasonFor(person.answer(lost))).toBe(ErrorReason.STALE_EPOCH);
    await person.answer(next);
    const { rows } = await fixture.pool.query("select status, error from runs where run_id = $1", [lost.run?.id]);
    expect(rows).toEqual([{ status: "failed", error: "The run passed its deadline." }]);
    const events = await fixture.pool.query("select seq, type from run_events where run_id = $1", [lost.run?.id]);
    expect(events.rows).toEqual([{ seq: 1, type: "failed" }]);
  });

  test("sent twenty times at once begins one run, and the others get CONVERSATION_BUSY", async () => {
    const person = fixture.person();
    for (const overdue of [false, true]) {
      const context = await person.begin();
      const conversationId = context.conversation?.id ?? "";
      if (overdue) await expireRuns(conversationId);
      else await person.answer(context);
      const before = context.conversation?.messageCount ?? 0;
      const reasons = await Promise.all(
        Array.from({ length: 20 }, () => reasonFor(person.begin({ conversationId, concurrency: "reject" }))),
      );
      expect(reasons.filter((reason) => reason === undefined)).toHaveLength(1);
      expect(reasons.filter((reason) => reason === ErrorReason.CONVERSATION_BUSY)).toHaveLength(19);
      const { conversation, messages } = await person.conversations.getConversation({ conversationId });
      expect(conversation?.messageCount).toBe(before + (overdue ? 1 : 2));
      expect(messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual(messages.map((_, index) => index + 1));
    }
  });

  test("that waits for a lock gets the messages stored meanwhile", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "one" });
    const conversationId = first.conversation?.id ?? "";
    await person.answer(first, "two");
    const second = await transaction(fixture.pool, async (tx) => {
      await tx.query("select from conversations where id = $1 for update", [conversationId]);
      const begun = person.begin({ conversationId, message: "four" });
      let waiting = 0;
      while (waiting === 0) {
        waiting =
          (await tx.query("select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"))
            .rowCount ?? 0;
        await tx.query("select pg_stat_clear_snapshot()");
      }
      await tx.query(
        "insert into messages (conversation_id, id, sequence_number, role, content) values ($1, $2, 3, 'assistant', 'three')",
        [conversationId, uuidv7()],
      );
      await tx.query("update conversations set message_count = 3 where id = $1", [conversationId]);
      return { begun };
    });
    expect((await second.begun).messages.map(({ content }) => content)).toEqual(["one", "two", "three", "four"]);
  });
});

describe("a message under an idempotency key", () => {
  const keyed = (message: string, key: string) => ({
    message,
    idempotencyKey: key,
    requestHash: createHash("sha256").update(message).digest(),
  });

  test("sent a hundred times at once opens one run, of a new conversation or an old one", async () => {
    const person = fixture.person();
    for (const conversationId of [undefined, (await person.begin()).conversation?.id]) {
      const key = uuidv7();
      const opened = await Promise.all(
        Array.from({ length: 100 }, () =>
          person.journal.beginRun({ runId: uuidv7(), conversationId, ...keyed("once", key), concurrency: "enqueue" }),
        ),
      );
      const ids = new Set(opened.map(({ run, context }) => run?.id ?? context?.run?.id));
      expect(ids.size).toBe(1);
      expect(opened.filter(({ replayed }) => !replayed)).toHaveLength(1);
      const { rows } = await fixture.pool.query("select count(*)::int as runs from runs where idempotency_key = $1", [key]);
      expect(rows).toEqual([{ runs: 1 }]);
    }
  });

  test("is refused with another body, even where the conversation is busy, and is separate per user", async () => {
    const person = fixture.person();
    const key = uuidv7();
    const { context } = await person.journal.beginRun({ runId: uuidv7(), ...keyed("once", key) });
    const conversationId = context?.conversation?.id;
    const other = person.journal.beginRun({ runId: uuidv7(), ...keyed("twice", key) });
    expect(await reasonFor(other)).toBe(ErrorReason.IDEMPOTENCY_KEY_REUSED);
    const again = await person.journal.beginRun({
      runId: uuidv7(),
      conversationId,
      ...keyed("once", key),
      concurrency: "reject",
    });
    expect(again).toMatchObject({ replayed: true, run: { id: context?.run?.id } });
    const stranger = await fixture.person().journal.beginRun({ runId: uuidv7(), ...keyed("once", key) });
    expect(stranger.replayed).toBe(false);
  });
});
