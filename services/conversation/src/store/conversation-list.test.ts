import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { detailOf } from "@turnwright/platform/errors";
import { listStart } from "@turnwright/platform/postgres/keyset-cursor";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";
import { listSql, listValues } from "./conversation-list.ts";

useConversation({ max: 4 });

/** Begins conversations with these first messages; returns their ids. */
async function begun(person: Person, ...messages: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const message of messages) ids.push((await person.begin({ message })).conversation?.id ?? "");
  return ids;
}

async function titles(person: Person, request: Parameters<Person["conversations"]["listConversations"]>[0]): Promise<string[]> {
  return (await person.conversations.listConversations(request)).conversations.map(({ title }) => title);
}

/** A list of tags as the contract carries it. */
function tagList(...tags: unknown[]) {
  return {
    values: tags.map((tag) =>
      typeof tag === "string"
        ? { kind: { case: "stringValue" as const, value: tag } }
        : { kind: { case: "numberValue" as const, value: tag as number } },
    ),
  };
}

describe("a search", () => {
  test("finds titles that have all words, in capitals or not, and takes signs of patterns as they are", async () => {
    const person = fixture.person();
    await begun(person, "Refund of order 1187", "refund 50% now", "Weekly_report", "ÄRGER mit Über", "a\\b");
    await begun(fixture.person(), "refund of another user");
    expect(await titles(person, { q: "REFUND" })).toEqual(["refund 50% now", "Refund of order 1187"]);
    expect(await titles(person, { q: "  1187 ref " })).toEqual(["Refund of order 1187"]);
    expect(await titles(person, { q: "0%" })).toEqual(["refund 50% now"]);
    expect(await titles(person, { q: "%" })).toEqual(["refund 50% now"]);
    expect(await titles(person, { q: "y_r" })).toEqual(["Weekly_report"]);
    expect(await titles(person, { q: "_" })).toEqual(["Weekly_report"]);
    expect(await titles(person, { q: "\\" })).toEqual(["a\\b"]);
    expect(await titles(person, { q: "ärger über" })).toEqual(["ÄRGER mit Über"]);
    expect(await titles(person, { q: "refund report" })).toEqual([]);
    expect(await titles(person, { q: "' or true --" })).toEqual([]);
    expect(await titles(person, { q: " " })).toHaveLength(5);
  });

  test("goes on page by page, and its total is that of all conversations", async () => {
    const person = fixture.person();
    await begun(person, "red 1", "blue 1", "red 2", "blue 2", "red 3");
    const first = await person.conversations.listConversations({ q: "red", limit: 2 });
    expect(first.conversations.map(({ title }) => title)).toEqual(["red 3", "red 2"]);
    expect(first.total).toBe(5);
    expect(await titles(person, { q: "red", limit: 2, cursor: first.nextCursor })).toEqual(["red 1"]);
  });

  test("by agent, status and time", async () => {
    const person = fixture.person();
    const [early = "", late = ""] = await begun(person, "early", "late");
    await person.begin({ message: "coded", agentType: "coder" });
    await person.park(await person.begin({ message: "waits" }), ["c1"]);
    const at = (second: number) => new Date(Date.UTC(2020, 0, 1, 0, 0, second));
    for (const [id, second] of [
      [early, 1],
      [late, 2],
    ] as const) {
      await fixture.pool.query("update conversations set created_at = $2 where id = $1", [id, at(second)]);
    }
    const time = (second: number) => timestampFromDate(at(second));
    expect(await titles(person, { agentType: "coder" })).toEqual(["coded"]);
    expect(await titles(person, { status: "pending_approval" })).toEqual(["waits"]);
    expect(await titles(person, { status: "active", from: time(2), to: time(3) })).toEqual(["late"]);
    expect(await titles(person, { from: time(1), to: time(2) })).toEqual(["early"]);
    expect(await titles(person, { to: { seconds: time(1).seconds, nanos: 1_000 } })).toEqual(["early"]);
    expect(await titles(person, { from: time(3), q: "late" })).toEqual([]);
  });

  test.each([
    { q: "x".repeat(201) },
    { q: "a b c d e f g h i j k" },
    { status: "archived" },
    { agentType: "x".repeat(101) },
    { q: "a\0b" },
  ])("refuses %j and names the field", async (request) => {
    const error = await fixture
      .person()
      .conversations.listConversations(request)
      .catch((error: unknown) => error);
    const param = Object.keys(request)[0]?.replace("agentType", "agent_type");
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
  });

  test("reads archived conversations by their own index, and a range of time by the user's", async () => {
    const { userId } = fixture.person();
    await fixture.pool.query(
      `insert into conversations (id, user_id, created_at, archived)
       select gen_random_uuid(), $1, now() - n * interval '1 minute', n % 400 = 0 from generate_series(1, 4000) n`,
      [userId],
    );
    await fixture.pool.query("vacuum analyze conversations");
    const plan = async (archived: boolean, from?: string) => {
      const filter = { words: ["nothing"], agent: "", status: "", archived, from };
      const values = listValues({ userId, after: listStart, limit: 50 }, filter);
      const { rows } = await fixture.database.users.as(userId, (db) =>
        db.query(`explain (analyze, buffers, format json) ${listSql(archived)}`, values),
      );
      const text = JSON.stringify(rows[0]["QUERY PLAN"]);
      const { Plan } = rows[0]["QUERY PLAN"][0];
      return { text, blocks: Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"] };
    };
    const [archived, all] = [await plan(true), await plan(false)];
    const recent = await plan(false, new Date(Date.now() - 600_000).toISOString());
    expect(archived.text).toContain("conversations_archived");
    for (const { text } of [archived, all, recent]) expect(text).not.toContain("Seq Scan");
    expect(archived.blocks).toBeLessThan(all.blocks / 2);
    expect(recent.blocks).toBeLessThan(all.blocks / 2);
  });
});

describe("a change", () => {
  test("sets what it names and leaves the rest", async () => {
    const person = fixture.person();
    const [conversationId = ""] = await begun(person, "Hello");
    const update = (change: object) => person.conversations.updateConversation({ conversationId, ...change });
    expect((await update({ title: "  Two\n words " })).conversation).toMatchObject({ title: "Two words", tags: [] });
    expect((await update({ tags: tagList("a", "b", "a") })).conversation).toMatchObject({ title: "Two words", tags: ["a", "b"] });
    expect((await update({ archived: true })).conversation).toMatchObject({ tags: ["a", "b"], archived: true });
    expect(await titles(person, {})).toEqual([]);
    expect(await titles(person, { archived: true })).toEqual(["Two words"]);
    const { conversation } = await update({ archived: false, tags: tagList() });
    expect(conversation).toMatchObject({ title: "Two words", tags: [], archived: false, messageCount: 1 });
    expect((await person.conversations.getConversation({ conversationId })).conversation).toEqual(conversation);
    expect(await titles(person, {})).toEqual(["Two words"]);
  });

  test("of an archived conversation does not come with its next message", async () => {
    const person = fixture.person();
    const context = await person.begin({ message: "Hello" });
    const conversationId = context.conversation?.id ?? "";
    await person.conversations.updateConversation({ conversationId, archived: true });
    await person.answer(context);
    const next = await person.begin({ conversationId, message: "again" });
    expect(next.conversation).toMatchObject({ archived: true, status: "active" });
  });

  test.each([
    [{}, undefined],
    [{ title: "" }, "title"],
    [{ title: " \n" }, "title"],
    [{ title: "x".repeat(101) }, "title"],
    [{ title: "a\0b" }, "title"],
    [{ tags: tagList("") }, "tags"],
    [{ tags: tagList(7) }, "tags"],
    [{ tags: tagList("x".repeat(51)) }, "tags"],
    [{ tags: tagList("a\0b") }, "tags"],
    [{ tags: tagList(...Array.from({ length: 21 }, (_, index) => `${index}`)) }, "tags"],
  ])("is refused as %j", async (change, param) => {
    const person = fixture.person();
    const [conversationId] = await begun(person, "Hello");
    const error = await person.conversations.updateConversation({ conversationId, ...change }).catch((error: unknown) => error);
    expect(detailOf(error)?.reason).toBe(ErrorReason.INVALID_REQUEST);
    expect(detailOf(error)?.param?.split(/[.[]/)[0] || undefined).toBe(param);
    expect(await titles(person, {})).toEqual(["Hello"]);
  });

  test("of another user's, an unknown and a deleted conversation finds none", async () => {
    const [owner, other] = [fixture.person(), fixture.person()];
    const [conversationId = ""] = await begun(owner, "Hello");
    const reason = (person: Person, id: string) =>
      reasonFor(person.conversations.updateConversation({ conversationId: id, title: "taken" }));
    expect(await reason(other, conversationId)).toBe(ErrorReason.NOT_FOUND);
    expect(await reason(owner, uuidv7())).toBe(ErrorReason.NOT_FOUND);
    expect(await titles(owner, {})).toEqual(["Hello"]);
    await owner.conversations.deleteConversation({ conversationId });
    expect(await reason(owner, conversationId)).toBe(ErrorReason.NOT_FOUND);
  });
});
