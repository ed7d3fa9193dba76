import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { encodeCursor, listStart, oldestStart } from "@turnwright/platform/postgres/keyset-cursor";
import { uuidv7 } from "@turnwright/platform/uuid";
import { describe, expect, test } from "vitest";
import { ErrorReason, type Person, reasonFor, toolCall } from "../../testing/conversation.ts";
import { fixture, useConversation } from "../../testing/use-conversation.ts";
import { inboxStatements } from "./inbox.ts";

useConversation({ approvalExpiryMs: 60_000 });

/** A run whose calls have an unknown outcome. */
async function inReview(person: Person, calls: readonly { id: string; name: string; arguments: string }[]): Promise<string> {
  const context = await person.begin({ message: "Pay it" });
  const events = [{ type: "needs_review", payload: JSON.stringify({ calls }) }];
  await person.commit(context, { status: RunStatus.NEEDS_REVIEW, node: "act", events });
  return context.run?.id ?? "";
}

/** All pages of an inbox, as pairs of kinds and calls. */
async function pages(person: Person, asked: { decided?: boolean; oldestFirst?: boolean }, limit: number): Promise<string[][]> {
  const found: string[][] = [];
  let cursor = "";
  do {
    const page = await person.journal.listInboxItems({ ...asked, limit, cursor });
    found.push(page.items.map(({ kind, calls }) => `${kind} ${calls.map(({ callId }) => callId).join(" ")}`));
    cursor = page.nextCursor;
  } while (cursor !== "");
  return found;
}

describe("the inbox", () => {
  test("has approvals and reviews in one list, in both orders, page by page", async () => {
    const person = fixture.person();
    await person.parked("a", "b");
    await inReview(person, [{ id: "r", name: "http_request", arguments: "{}" }]);
    await person.parked("c");
    await fixture.person().parked("foreign");
    // The approvals of one commit have the same time; their ids decide.
    const oldest = (await pages(person, { oldestFirst: true }, 100)).flat();
    expect([...oldest].sort()).toEqual(["approval a", "approval b", "approval c", "review r"]);
    expect(oldest.slice(2)).toEqual(["review r", "approval c"]);
    for (const limit of [1, 2, 3]) {
      expect((await pages(person, { oldestFirst: true }, limit)).flat()).toEqual(oldest);
      expect((await pages(person, {}, limit)).flat()).toEqual(oldest.toReversed());
    }
    expect(await pages(person, {}, 3)).toHaveLength(2);
    const { counts, items } = await person.journal.listInboxItems({ limit: 1, oldestFirst: true });
    expect(counts).toMatchObject({ approvals: 3, reviews: 1, oldestAt: items[0]?.createdAt });
    const none = await fixture.person().journal.listInboxItems({ limit: 100 });
    expect(none).toMatchObject({ items: [], counts: { approvals: 0, reviews: 0 }, nextCursor: "" });
    expect(none.counts?.oldestAt).toBeUndefined();
  });

  test("shows what a person needs to decide, with long texts cut", async () => {
    const person = fixture.person();
    const context = await person.begin({ message: `Send it ${"x".repeat(500)}` });
    const json = `{"id":9007199254740993,"text":"${"\u20ac".repeat(10_000)}"}`;
    await person.commit(context, {
      status: RunStatus.WAITING,
      agent: "researcher",
      messages: [
        { id: uuidv7(), role: "assistant", content: "I send it.", toolCalls: [toolCall("c1")] },
        { id: uuidv7(), role: "tool", name: "calculator", toolCallId: "c0", content: "42" },
      ],
      approvals: [{ callId: "c1", toolName: "http_request", toolVersion: "3", arguments: json }],
    });
    const { items } = await person.journal.listInboxItems({ limit: 10 });
    expect(items).toMatchObject([
      {
        kind: "approval",
        status: "pending",
        conversationId: context.conversation?.id,
        runId: context.run?.id,
        agentType: "researcher",
        requestedByTokenId: person.tokenId,
        calls: [{ callId: "c1", toolName: "http_request", toolVersion: "3", argumentsBytes: Buffer.byteLength(json) }],
        before: [
          { role: "user", text: `Send it ${"x".repeat(192)}`, bytes: 508 },
          { role: "assistant", text: "I send it.", bytes: 10 },
          { role: "tool", name: "calculator", text: "42", bytes: 2 },
        ],
      },
    ]);
    expect(items[0]?.title).toMatch(/^Send it x/);
    expect(items[0]?.calls[0]?.arguments).toBe(json.slice(0, 4_096));
    expect(items[0]?.expiresAt).toBeDefined();
  });

  test("has all calls of a review, and pages that end early when they are long", async () => {
    const person = fixture.person();
    const long = `{"a":"${"y".repeat(900_000)}"}`;
    const calls = ["r1", "r2"].map((id) => ({ id, name: "http_request", arguments: long }));
    for (let n = 0; n < 4; n++) await inReview(person, calls);
    const page = await person.journal.listInboxItems({ limit: 100 });
    expect(page.items.length).toBeLessThan(4);
    expect(page.items[0]?.calls).toMatchObject([
      { callId: "r1", arguments: long.slice(0, 4_096), argumentsBytes: long.length, isEdited: false },
      { callId: "r2" },
    ]);
    expect((await pages(person, {}, 100)).flat()).toEqual(Array(4).fill("review r1 r2"));
  });

  test("shows decided and expired calls, the newest decision first, and no superseded one", async () => {
    const person = fixture.person();
    fixture.keys.names?.set(person.userId, "Anna");
    const decide = (conversationId: string, approved: boolean, args = "") =>
      person.journal.decideApprovals({ conversationId, calls: [{ callId: "c", approved, reason: "why", arguments: args }] });
    const [first, second, third, fourth] = [
      await person.parked("c"),
      await person.parked("c"),
      await person.parked("c"),
      await person.parked("c"),
    ];
    await decide(third.conversationId, false);
    await decide(first.conversationId, true, '{"url":"https://example.com/other"}');
    const superseded = "update approvals set status = 'superseded', decided_at = now() where conversation_id = $1";
    await fixture.pool.query(superseded, [fourth.conversationId]);
    const decided = await person.journal.listInboxItems({ decided: true, limit: 10 });
    expect(decided.items).toMatchObject([
      {
        conversationId: first.conversationId,
        status: "approved",
        decidedByName: "Anna",
        decidedVia: "login",
        reason: "why",
        calls: [{ arguments: '{"url":"https://example.com/other"}', isEdited: true }],
        before: [],
      },
      { conversationId: third.conversationId, status: "rejected" },
    ]);
    expect(decided.counts).toMatchObject({ approvals: 1 });
    expect((await pages(person, { decided: true, oldestFirst: true }, 1)).length).toBe(2);
    await person.conversations.deleteConversation({ conversationId: second.conversationId });
    const after = await person.journal.listInboxItems({ decided: true, limit: 1 });
    expect(after.items).toMatchObject([{ conversationId: second.conversationId, title: "", status: "rejected" }]);
    expect(after.counts).toMatchObject({ approvals: 0, reviews: 0 });
  });

  test.each([
    { limit: 0 },
    { limit: 101 },
    { limit: 10, cursor: "x" },
    { limit: 10, cursor: "a".repeat(201) },
    { limit: 10, cursor: `${encodeCursor(listStart)}x` },
  ])("refuses a page of %j", async (asked) => {
    expect(await reasonFor(fixture.person().journal.listInboxItems(asked))).toBe(ErrorReason.INVALID_REQUEST);
  });
});

test("a page of the inbox reads as little when its owner has 5,000 calls that wait and 5,000 that were decided", async () => {
  const [few, many] = [fixture.person(), fixture.person()];
  for (const person of [few, many]) {
    for (let n = 0; n < 12; n++) await person.parked("c");
    await person.journal.decideApprovals({ conversationId: (await person.parked("c")).conversationId, approved: true });
  }
  await fixture.pool.query(
    `insert into approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, arguments, status,
       created_at, decided_at)
     select gen_random_uuid(), a.conversation_id, a.run_id, a.user_id, a.epoch, n, 'c' || n, a.tool_name, a.arguments,
       case n % 2 when 0 then 'pending' else 'approved' end, now() - n * interval '1 minute', now() - n * interval '1 minute'
     from (select * from approvals where user_id = $1 and status = 'pending' limit 1) a, generate_series(1, 10000) n`,
    [many.userId],
  );
  await fixture.pool.query("vacuum analyze approvals");
  const blocksOf = async (text: string, { userId }: Person, { createdUs, id }: typeof listStart): Promise<number> => {
    const explain = `explain (analyze, buffers, format json) ${text}`;
    const { rows } = await fixture.database.users.as(userId, (db) => db.query(explain, [userId, createdUs, id, 11]));
    const plan = rows[0]["QUERY PLAN"][0].Plan;
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
  };
  for (const [order, start] of [["newest", listStart] as const, ["oldest", oldestStart] as const]) {
    const { text } = inboxStatements.pending[order];
    expect(await blocksOf(text, many, start)).toBeLessThanOrEqual((await blocksOf(text, few, start)) * 1.5 + 10);
    // Of 5,000 decided calls, a page reads its eleven rows, not all.
    expect(await blocksOf(inboxStatements.decided[order].text, many, start)).toBeLessThan(250);
  }
});
