import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { detailOf } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, reasonFor } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";

useConversation();

describe("a list", () => {
  test("has the caller's conversations, newest first, page by page, with their total", async () => {
    const [person, other] = [fixture.person(), fixture.person()];
    const ids: string[] = [];
    for (let count = 0; count < 7; count += 1) ids.push((await person.begin()).conversation?.id ?? "");
    // Two in the same microsecond: the id decides their order.
    await fixture.pool.query("update conversations set created_at = '2030-01-01T00:00:00.123456Z' where id = any($1)", [
      ids.slice(5),
    ]);
    await other.begin();
    const seen: string[] = [];
    let cursor = "";
    do {
      const page = await person.conversations.listConversations({ limit: 3, cursor });
      expect(page.total).toBe(7);
      expect(page.conversations.length).toBeLessThanOrEqual(3);
      seen.push(...page.conversations.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== "");
    expect(seen).toEqual([...ids.slice(5).sort().reverse(), ...ids.slice(0, 5).reverse()]);
    expect((await person.conversations.listConversations({ limit: 7 })).nextCursor).toBe("");
    expect((await person.conversations.listConversations({})).conversations).toHaveLength(7);
  });

  test("of a new user is empty", async () => {
    const page = await fixture.person().conversations.listConversations({});
    expect(page).toMatchObject({ conversations: [], total: 0, nextCursor: "" });
  });

  test("has the right total when conversations are created at once", async () => {
    const person = fixture.person();
    await Promise.all(Array.from({ length: 20 }, () => person.begin()));
    expect((await person.conversations.listConversations({})).total).toBe(20);
  });

  test.each([{ cursor: "nonsense" }, { limit: 0 }, { limit: 101 }])("refuses %j and names the field", async (request) => {
    const error = await fixture
      .person()
      .conversations.listConversations(request)
      .catch((error: unknown) => error);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: Object.keys(request)[0] });
  });
});

test("messages come page by page, oldest first", async () => {
  const person = fixture.person();
  const context = await person.begin({ message: "1" });
  await person.commit(context, {
    status: RunStatus.RUNNING,
    messages: ["2", "3", "4"].map((content) => ({ role: "assistant", content })),
  });
  const conversationId = context.conversation?.id;
  const page = async (request: { after?: number; limit?: number }) => {
    const { messages, hasMore } = await person.conversations.listMessages({ conversationId, ...request });
    return [messages.map(({ content }) => content).join(""), hasMore];
  };
  expect(await page({})).toEqual(["1234", false]);
  expect(await page({ limit: 3 })).toEqual(["123", true]);
  expect(await page({ limit: 3, after: 1 })).toEqual(["234", false]);
  expect(await page({ after: 4 })).toEqual(["", false]);
  expect(await page({ after: 2_147_483_647 })).toEqual(["", false]);
});

test("a deleted conversation is gone for its owner, and its run is cancelled", async () => {
  const person = fixture.person();
  const [running, waiting] = [await person.begin(), await person.begin()];
  await person.park(waiting, ["c1"]);
  for (const context of [running, waiting]) {
    const conversationId = context.conversation?.id ?? "";
    await person.conversations.deleteConversation({ conversationId });
    expect(await reasonFor(person.conversations.getConversation({ conversationId }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(person.conversations.listMessages({ conversationId }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(person.conversations.deleteConversation({ conversationId }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(person.answer(context))).toBe(ErrorReason.STALE_EPOCH);
    const { rows } = await fixture.pool.query("select status from runs where run_id = $1", [context.run?.id]);
    expect(rows).toEqual([{ status: "cancelled" }]);
  }
  expect(await person.conversations.listConversations({})).toMatchObject({ conversations: [], total: 0 });
});

test("a conversation deleted twice at once counts once", async () => {
  const person = fixture.person();
  const { conversation } = await person.begin();
  const reasons = await Promise.all(
    Array.from({ length: 10 }, () => reasonFor(person.conversations.deleteConversation({ conversationId: conversation?.id }))),
  );
  expect(reasons.filter((reason) => reason === undefined)).toHaveLength(1);
  expect((await person.conversations.listConversations({})).total).toBe(0);
});

test("another user's conversation and an unknown one are not found, and do not change", async () => {
  const [owner, other] = [fixture.person(), fixture.person()];
  const context = await owner.begin();
  const conversationId = context.conversation?.id ?? "";
  for (const id of [conversationId, uuidv7()]) {
    expect(await reasonFor(other.conversations.getConversation({ conversationId: id }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(other.conversations.listMessages({ conversationId: id }))).toBe(ErrorReason.NOT_FOUND);
    expect(await reasonFor(other.conversations.deleteConversation({ conversationId: id }))).toBe(ErrorReason.NOT_FOUND);
  }
  await owner.answer(context);
  expect((await owner.conversations.getConversation({ conversationId })).messages).toHaveLength(2);
});
