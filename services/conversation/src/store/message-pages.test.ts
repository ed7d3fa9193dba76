import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";

useConversation({ max: 4 });

/** A conversation of a run with these answers after its first message. */
async function conversationOf(person: Person, first: string, ...answers: string[]) {
  const context = await person.begin({ message: first });
  const messages = answers.map((content) => ({ role: "assistant", content }));
  await person.commit(context, { status: RunStatus.COMPLETED, messages });
  return { conversationId: context.conversation?.id ?? "", runId: context.run?.id ?? "" };
}

describe("messages, newest first,", () => {
  test("come page by page from the end to the beginning", async () => {
    const person = fixture.person();
    const { conversationId } = await conversationOf(person, "1", "2", "3", "4", "5");
    const pages: string[] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page = await person.conversations.listMessages({ conversationId, order: "desc", limit: 2, cursor });
      pages.push(page.messages.map(({ content }) => content).join(""));
      cursor = page.nextCursor || undefined;
    }
    expect(pages).toEqual(["54", "32", "1"]);
    const before = await person.conversations.listMessages({ conversationId, order: "desc", before: 4, limit: 2 });
    expect(before.messages.map(({ content }) => content)).toEqual(["3", "2"]);
    const { nextCursor } = await person.conversations.getConversation({ conversationId, limit: 2 });
    const earlier = await person.conversations.listMessages({ conversationId, order: "desc", cursor: nextCursor });
    expect(earlier.messages.map(({ content }) => content)).toEqual(["3", "2", "1"]);
  });

  test("do not begin where pages go forwards", async () => {
    const person = fixture.person();
    const { conversationId } = await conversationOf(person, "1", "2", "3");
    const { nextCursor: cursor } = await person.conversations.listMessages({ conversationId, limit: 1 });
    for (const request of [{ order: "desc", after: 1 }, { order: "desc", cursor }, { order: "newest" }]) {
      const error = await person.conversations.listMessages({ conversationId, ...request }).catch((error: unknown) => error);
      expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "order" });
    }
  });
});

describe("a limit of texts", () => {
  test("cuts content and reasoning at whole characters and tells what it left out", async () => {
    const person = fixture.person();
    const context = await person.begin({ message: "äöü€😀" });
    await person.commit(context, {
      status: RunStatus.COMPLETED,
      messages: [
        { role: "assistant", content: "x".repeat(3_000_000), reasoning: "y".repeat(20), toolCalls: [toolCall("c1")] },
        { role: "tool", toolCallId: "c1", content: "short" },
      ],
    });
    const conversationId = context.conversation?.id ?? "";
    const shown = async (contentLimit: number) => {
      const { messages } = await person.conversations.listMessages({ conversationId, contentLimit });
      return messages.map(({ content, truncatedBytes, reasoning, truncatedReasoningBytes }) => [
        content,
        truncatedBytes,
        reasoning,
        truncatedReasoningBytes,
      ]);
    };
    const y = (count: number) => "y".repeat(count);
    expect(await shown(4)).toEqual([
      ["äö", 9, "", 0],
      ["xxxx", 2_999_996, y(4), 16],
      ["shor", 1, "", 0],
    ]);
    expect(await shown(12)).toEqual([
      ["äöü€", 4, "", 0],
      ["x".repeat(12), 2_999_988, y(12), 8],
      ["short", 0, "", 0],
    ]);
    expect((await shown(13))[0]).toEqual(["äöü€😀", 0, "", 0]);
    expect(await shown(0)).toEqual([
      ["", 13, "", 0],
      ["", 3_000_000, "", 20],
      ["", 5, "", 0],
    ]);
    const got = await person.conversations.getConversation({ conversationId, limit: 2, contentLimit: 4 });
    expect(got.messages).toMatchObject([{ content: "xxxx", truncatedBytes: 2_999_996 }, { content: "shor" }]);
    expect(got.messages[0]?.toolCalls[0]?.function?.arguments).toBe(toolCall("c1").function.arguments);
    const whole = await person.conversations.listMessages({ conversationId, limit: 1, after: 1 });
    expect(whole.messages).toMatchObject([{ truncatedBytes: 0, truncatedReasoningBytes: 0, reasoning: y(20) }]);
    expect(whole.messages[0]?.content).toHaveLength(3_000_000);
  });

  test("lets a page have messages that would not fit as a whole", async () => {
    const person = fixture.person();
    const large = "z".repeat(1_500_000);
    const { conversationId } = await conversationOf(person, "1", large, large, large, large);
    const page = (contentLimit?: number) => person.conversations.listMessages({ conversationId, contentLimit });
    expect((await page()).messages).toHaveLength(3);
    expect((await page(1_000)).messages).toHaveLength(5);
  });

  test.each([-1, 1_048_577])("of %d is refused by name", async (contentLimit) => {
    const person = fixture.person();
    const { conversationId } = await conversationOf(person, "1");
    for (const call of [person.conversations.listMessages, person.conversations.getConversation]) {
      const error = await call({ conversationId, contentLimit }).catch((error: unknown) => error);
      expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "content_limit" });
    }
  });
});

describe("the content of a message", () => {
  test("is the text as it is stored", async () => {
    const person = fixture.person();
    const text = `<b>ä\u0001\r\n${"x".repeat(100_000)}`;
    const { conversationId } = await conversationOf(person, "1", text, "");
    const read = async (sequenceNumber: number) =>
      (await person.conversations.getMessageContent({ conversationId, sequenceNumber })).content;
    expect([await read(1), await read(2), await read(3)]).toEqual(["1", text, ""]);
  });

  test("of an unknown message, another user's and a deleted conversation is not found", async () => {
    const [owner, other] = [fixture.person(), fixture.person()];
    const { conversationId } = await conversationOf(owner, "secret");
    const reason = (person: Person, asked: { conversationId: string; sequenceNumber: number }) =>
      reasonFor(person.conversations.getMessageContent(asked));
    expect(await reason(other, { conversationId, sequenceNumber: 1 })).toBe(ErrorReason.NOT_FOUND);
    expect(await reason(owner, { conversationId, sequenceNumber: 2 })).toBe(ErrorReason.NOT_FOUND);
    expect(await reason(owner, { conversationId: uuidv7(), sequenceNumber: 1 })).toBe(ErrorReason.NOT_FOUND);
    expect(await reason(owner, { conversationId, sequenceNumber: 0 })).toBe(ErrorReason.INVALID_REQUEST);
    await owner.conversations.deleteConversation({ conversationId });
    expect(await reason(owner, { conversationId, sequenceNumber: 1 })).toBe(ErrorReason.NOT_FOUND);
  });
});

describe("a message's run", () => {
  test("is the one that it began or that made it, at once, in the background and in the queue", async () => {
    const person = fixture.person();
    const { conversationId, runId } = await conversationOf(person, "1", "2");
    const next = await person.begin({ conversationId, message: "3" });
    await person.answer(next);
    const queued = uuidv7();
    await person.journal.beginRun({ runId: queued, conversationId, message: "5", background: true });
    const claimed = await person.journal.claimRun({ runId: queued, workerId: uuidv7(), graphVersion: 1 });
    const { messages } = await person.conversations.getConversation({ conversationId });
    const second = next.run?.id ?? "";
    expect(messages.map((message) => message.runId)).toEqual([runId, runId, second, second, queued]);
    expect(next.messages.map((message) => message.runId)).toEqual([runId, runId, second]);
    expect(claimed.context?.messages.map((message) => message.runId)).toEqual(messages.map((message) => message.runId));
    const { events } = await person.journal.readRunLog({ runId: second, after: 0 });
    expect(events.flatMap((event) => event.messages).every((message) => message.runId === second)).toBe(true);
  });

  test("is empty on messages of earlier releases", async () => {
    const person = fixture.person();
    const { conversationId } = await conversationOf(person, "1");
    await fixture.pool.query("update messages set run_id = null where conversation_id = $1", [conversationId]);
    expect((await person.conversations.listMessages({ conversationId })).messages).toMatchObject([{ runId: "" }]);
  });
});
