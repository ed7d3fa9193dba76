import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";

useConversation({ max: 4 });

const url = `data:image/png;base64,${"A".repeat(100)}`;
const parts = [
  { type: "image", imageUrl: url },
  { type: "text", text: "äöü" },
];

describe("the parts of a message", () => {
  test("are stored and read with it: at once, in a free conversation, behind another run, in the background", async () => {
    const person = fixture.person();
    const first = await person.begin({ message: "1", parts });
    const conversationId = first.conversation?.id ?? "";
    const behind = uuidv7();
    await person.journal.beginRun({ runId: behind, conversationId, message: "3", parts });
    await person.answer(first, "2");
    const claimed = await person.journal.claimRun({ runId: behind, workerId: uuidv7(), graphVersion: 1 });
    expect(claimed.context?.messages.map((message) => message.parts.length)).toEqual([2, 0, 2]);
    if (claimed.context) await person.answer(claimed.context, "4");
    const free = await person.begin({ conversationId, message: "5", parts });
    await person.answer(free, "6");
    const waiting = uuidv7();
    await person.journal.beginRun({ runId: waiting, conversationId, message: "7", parts, background: true });
    await person.journal.claimRun({ runId: waiting, workerId: uuidv7(), graphVersion: 1 });
    const { messages } = await person.conversations.getConversation({ conversationId });
    const said = messages.filter(({ role }) => role === "user");
    expect(said.map(({ content }) => content)).toEqual(["1", "3", "5", "7"]);
    for (const message of said) expect(message.parts).toMatchObject(parts);
    for (const context of [first, claimed.context, free]) expect(context?.messages.at(-1)?.parts).toMatchObject(parts);
    const { rows } = await fixture.pool.query("select from runs where conversation_id = $1 and input_parts is not null", [
      conversationId,
    ]);
    expect(rows).toEqual([]);
  });

  test("of many messages that begin at once stay with their message", async () => {
    const people = Array.from({ length: 8 }, () => fixture.person());
    const begun = await Promise.all(people.map((person, n) => person.begin({ parts: [{ type: "text", text: `${n}` }] })));
    const again = async (n: number) => {
      const [person, context] = [people[n], begun[n]];
      if (person === undefined || context === undefined) throw new Error("missing");
      await person.answer(context);
      const conversationId = context.conversation?.id ?? "";
      await person.begin({ conversationId, parts: [{ type: "text", text: `again ${n}` }] });
      const { messages } = await person.conversations.getConversation({ conversationId });
      return messages.flatMap((message) => message.parts.map(({ text }) => text));
    };
    const texts = await Promise.all(people.map((_, n) => again(n)));
    expect(texts).toEqual(people.map((_, n) => [`${n}`, `again ${n}`]));
  });

  test("are cut by a limit: texts to their beginning, images as a whole; each can be read alone", async () => {
    const person = fixture.person();
    const { conversation } = await person.begin({ message: "look", parts });
    const conversationId = conversation?.id ?? "";
    const listed = async (contentLimit?: number) =>
      (await person.conversations.listMessages({ conversationId, contentLimit })).messages[0]?.parts;
    expect(await listed()).toMatchObject([
      { imageUrl: url, truncatedBytes: 0 },
      { text: "äöü", truncatedBytes: 0 },
    ]);
    expect(await listed(url.length)).toMatchObject([{ imageUrl: url, truncatedBytes: 0 }, { text: "äöü" }]);
    expect(await listed(2)).toMatchObject([
      { type: "image", imageUrl: "", truncatedBytes: url.length },
      { type: "text", text: "äö", truncatedBytes: 2 },
    ]);
    const read = async (part?: number) =>
      (await person.conversations.getMessageContent({ conversationId, sequenceNumber: 1, part })).content;
    expect([await read(), await read(1), await read(2)]).toEqual(["look", url, "äöü"]);
    const error = await read(3).catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.NOT_FOUND, param: "part" });
    expect(await reasonFor(read(9))).toBe(ErrorReason.INVALID_REQUEST);
    const other = fixture.person().conversations.getMessageContent({ conversationId, sequenceNumber: 1, part: 1 });
    expect(await reasonFor(other)).toBe(ErrorReason.NOT_FOUND);
  });

  test.each([
    [[{ type: "video", text: "x" }], "parts[0].type"],
    [Array.from({ length: 9 }, () => ({ type: "text", text: "x" })), "parts"],
    [[{ type: "image", imageUrl: `data:image/png;base64,${"A".repeat(1_048_576)}` }], "parts[0].image_url"],
    [[{ type: "text", text: "x".repeat(200_001) }], "parts[0].text"],
  ])("beyond their bounds are refused by name, %#", async (refused, param) => {
    const error = await fixture
      .person()
      .begin({ message: "look", parts: refused })
      .catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
  });

  test("go into copies", async () => {
    const person = fixture.person();
    const { conversation } = await person.begin({ message: "look", parts });
    const copy = await person.conversations.forkConversation({ conversationId: conversation?.id, beforeSequence: 2 });
    const { messages } = await person.conversations.getConversation({ conversationId: copy.conversation?.id });
    expect(messages).toMatchObject([{ content: "look", parts }]);
  });

  test("count as bytes of a page and of a context", async () => {
    const person = fixture.person();
    const large = [{ type: "image", imageUrl: `data:image/png;base64,${"A".repeat(1_000_000)}` }];
    let conversationId = "";
    for (let count = 0; count < 8; count += 1) {
      const context = await person.begin({ conversationId, message: "look", parts: large });
      conversationId = context.conversation?.id ?? "";
      await person.answer(context);
    }
    const { messages } = await person.conversations.listMessages({ conversationId });
    expect(messages.length).toBeLessThan(10);
    expect((await person.conversations.listMessages({ conversationId, contentLimit: 1_000 })).messages).toHaveLength(16);
    const next = await person.begin({ conversationId, message: "last" });
    expect(next.messages.filter((message) => message.parts.length > 0)).toHaveLength(2);
  });
});
