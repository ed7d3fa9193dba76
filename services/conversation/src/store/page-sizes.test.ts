import { toJsonString } from "@bufbuild/protobuf";
import {
  GetConversationResponseSchema,
  ListApprovalsResponseSchema,
  ListMessagesResponseSchema,
  ListRunsResponseSchema,
} from "@turnwright/contract/conversation/v1/conversation_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import { beforeAll, describe, expect, test } from "vitest";
import { ErrorReason, reasonFor } from "../../testing/conversation.ts";
import { fixture, person, useConversation } from "../../testing/use-conversation.ts";
import { maxResponseBytes } from "./response-size.ts";

useConversation({ max: 4 });

/** The most bytes of a mesh message. */
const piece = 8 * 1024 * 1024;

/** A conversation of so many messages with a text. */
async function conversationOf(count: number, text: string): Promise<string> {
  const context = await person.begin();
  await person.answer(context);
  const conversationId = context.conversation?.id ?? "";
  await fixture.pool.query(
    `insert into messages (conversation_id, id, sequence_number, role, content)
     select $1, gen_random_uuid(), n, 'assistant', $3 from generate_series(3, $2) n`,
    [conversationId, count, text],
  );
  await fixture.pool.query("update conversations set message_count = $2 where id = $1", [conversationId, count]);
  return conversationId;
}

/** Numbers of all messages, read page by page in one direction. */
async function pagedNumbers(conversationId: string, backwards: boolean): Promise<number[]> {
  const numbers: number[] = [];
  let at = backwards ? 2_147_483_647 : 0;
  for (let pages = 0; pages < 100; pages += 1) {
    const asked = backwards ? { before: at } : { after: at };
    const page = await person.conversations.listMessages({ conversationId, limit: 500, ...asked });
    expect(toJsonString(ListMessagesResponseSchema, page).length).toBeLessThan(piece);
    const read = page.messages.map(({ sequenceNumber }) => sequenceNumber);
    if (backwards) numbers.unshift(...read);
    else numbers.push(...read);
    if (!page.hasMore) return numbers;
    at = (backwards ? read[0] : read.at(-1)) ?? 0;
  }
  throw new Error("the pages do not end");
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe("a conversation of 100,000 messages", () => {
  let conversationId: string;
  beforeAll(async () => {
    conversationId = await conversationOf(100_000, "word ".repeat(20));
  });

  test("is got with its newest 500, in one piece that a mesh carries", async () => {
    const got = await person.conversations.getConversation({ conversationId });
    expect(got.messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual(upTo(100_000).slice(-500));
    expect(got.nextCursor).not.toBe("");
    expect(toJsonString(GetConversationResponseSchema, got).length).toBeLessThan(piece);
  });

  test("takes no further message, background runs included, and says that it is full", async () => {
    for (const background of [false, true]) {
      const refused = person.journal.beginRun({ runId: uuidv7(), conversationId, message: "One more", background });
      expect(await reasonFor(refused)).toBe(ErrorReason.CONVERSATION_FULL);
    }
    await fixture.pool.query("update conversations set message_count = 99999 where id = $1", [conversationId]);
    await fixture.pool.query("delete from messages where conversation_id = $1 and sequence_number = 100000", [conversationId]);
    await person.answer(await person.begin({ conversationId }));
    const got = await person.conversations.getConversation({ conversationId, limit: 1 });
    expect(got.conversation?.messageCount).toBe(100_001);
    expect(await reasonFor(person.begin({ conversationId }))).toBe(ErrorReason.CONVERSATION_FULL);
    await fixture.pool.query("update conversations set message_count = 100000 where id = $1", [conversationId]);
    await fixture.pool.query("delete from messages where conversation_id = $1 and sequence_number > 100000", [conversationId]);
  });

  test("is got without messages when none are asked for", async () => {
    const got = await person.conversations.getConversation({ conversationId, limit: 0 });
    expect(got).toMatchObject({ messages: [], conversation: { messageCount: 100_000 } });
    expect(got.nextCursor).not.toBe("");
  });

  test("is read backwards from its end", async () => {
    const page = await person.conversations.listMessages({ conversationId, before: 100_001, limit: 2 });
    expect(page.messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual([99_999, 100_000]);
    expect(page.hasMore).toBe(true);
    const first = await person.conversations.listMessages({ conversationId, before: 3 });
    expect(first.messages.map(({ sequenceNumber }) => sequenceNumber)).toEqual([1, 2]);
    expect(first.hasMore).toBe(false);
    expect(await person.conversations.listMessages({ conversationId, before: 1 })).toMatchObject({
      messages: [],
      hasMore: false,
    });
  });
});

test("messages before and after a number at once are refused by name", async () => {
  const conversationId = await conversationOf(3, "x");
  const both = person.conversations.listMessages({ conversationId, before: 2, after: 1 });
  expect(await reasonFor(both)).toBe(ErrorReason.INVALID_REQUEST);
});

test("messages are read by cursor: forwards from the first one, backwards from where the conversation ends", async () => {
  const conversationId = await conversationOf(7, "x");
  const numbersFrom = async (start: string): Promise<number[][]> => {
    const pages: number[][] = [];
    for (let cursor: string | undefined = start; cursor !== undefined; ) {
      const page = await person.conversations.listMessages({ conversationId, limit: 3, cursor });
      pages.push(page.messages.map(({ sequenceNumber }) => sequenceNumber));
      expect(page.hasMore).toBe(page.nextCursor !== "");
      cursor = page.nextCursor || undefined;
    }
    return pages;
  };
  expect(await numbersFrom("")).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
  const newest = await person.conversations.getConversation({ conversationId, limit: 2 });
  expect(await numbersFrom(newest.nextCursor)).toEqual([
    [3, 4, 5],
    [1, 2],
  ]);
  const none = await person.conversations.getConversation({ conversationId, limit: 0 });
  expect(await numbersFrom(none.nextCursor)).toEqual([[5, 6, 7], [2, 3, 4], [1]]);
  expect(await person.conversations.getConversation({ conversationId })).toMatchObject({ nextCursor: "" });
  const differing = person.conversations.listMessages({ conversationId, cursor: newest.nextCursor, after: 1 });
  expect(await reasonFor(differing)).toBe(ErrorReason.INVALID_REQUEST);
});

test("a run tells its agent and its cost under their names and the deprecated ones", async () => {
  const context = await person.begin();
  await person.commit(context, { status: RunStatus.RUNNING, agent: "coder", cost: 0.25 });
  const expected = { agentType: "coder", agent: "coder", costUsd: 0.25, cost: 0.25 };
  expect((await person.conversations.getRun({ runId: context.run?.id })).run).toMatchObject(expected);
  expect((await person.conversations.listRuns({ limit: 1 })).runs[0]).toMatchObject(expected);
});

describe.each([
  ["long", "x".repeat(1_900_000), 7],
  ["that JSON writes six times as long", "\u0001".repeat(200_000), 9],
])("messages %s", (_, text, count) => {
  test("come in pages that a mesh carries, each once, in both directions", async () => {
    const conversationId = await conversationOf(count, text);
    expect(await pagedNumbers(conversationId, false)).toEqual(upTo(count));
    expect(await pagedNumbers(conversationId, true)).toEqual(upTo(count));
    const got = await person.conversations.getConversation({ conversationId });
    expect(got.nextCursor).not.toBe("");
    expect(got.messages.at(-1)?.sequenceNumber).toBe(count);
    expect(toJsonString(GetConversationResponseSchema, got).length).toBeLessThan(piece);
  });
});

test("runs with long texts are listed in pages that a mesh carries, each once", async () => {
  const own = fixture.person();
  const ids: string[] = [];
  for (let index = 0; index < 5; index += 1) {
    const context = await own.begin({ message: "m".repeat(190_000) });
    ids.unshift(context.run?.id ?? "");
    const messages = [{ id: uuidv7(), role: "assistant", content: "a".repeat(1_900_000) }];
    await own.commit(context, {
      status: RunStatus.COMPLETED,
      messages,
      events: [{ type: "completed", payload: "{}", messages: 1 }],
    });
  }
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await own.conversations.listRuns({ limit: 100, cursor });
    expect(toJsonString(ListRunsResponseSchema, page).length).toBeLessThan(piece);
    expect(page.runs.every(({ response }) => response.length === 1_900_000)).toBe(true);
    seen.push(...page.runs.map(({ id }) => id));
    cursor = page.nextCursor;
  } while (cursor !== "");
  expect(seen).toEqual(ids);
});

test("approvals with long arguments are listed in pages that a mesh carries, each once", async () => {
  const own = fixture.person();
  const args = JSON.stringify({ text: "a".repeat(260_000) });
  for (let index = 0; index < 10; index += 1) {
    const context = await own.begin();
    await own.commit(context, {
      status: RunStatus.WAITING,
      messages: [{ id: uuidv7(), role: "assistant", content: "" }],
      approvals: ["a", "b", "c", "d"].map((callId) => ({ callId, toolName: "http_request", arguments: args })),
    });
  }
  const seen = new Set<string>();
  let cursor = "";
  let pages = 0;
  do {
    const page = await own.conversations.listApprovals({ limit: 100, cursor });
    expect(toJsonString(ListApprovalsResponseSchema, page).length).toBeLessThan(piece);
    for (const { id } of page.approvals) seen.add(id);
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== "");
  expect(seen.size).toBe(40);
  expect(pages).toBeGreaterThan(1);
  expect(maxResponseBytes).toBeLessThan(piece);
});

test("a run that waits for its next attempt, or has failed, tells the cause and its reason", async () => {
  const context = await person.begin();
  const runId = context.run?.id ?? "";
  const cause = { reason: "ERROR_REASON_MODEL_FAILED", error: "The model's endpoint cannot be reached: ECONNREFUSED." };
  await person.commit(context, {
    status: RunStatus.QUEUED,
    wakeInMs: 60_000,
    events: [{ type: "retrying", payload: JSON.stringify({ in_ms: 60_000, ...cause }) }],
  });
  const waits = { status: "queued", error: "", lastError: cause.error, errorReason: "MODEL_FAILED" };
  expect((await person.conversations.getRun({ runId })).run).toMatchObject(waits);
  expect((await person.conversations.listRuns({})).runs.find(({ id }) => id === runId)).toMatchObject(waits);

  const other = await person.begin();
  const events = [{ type: "failed", payload: JSON.stringify(cause) }];
  await person.commit(other, { status: RunStatus.FAILED, error: cause.error, events });
  const failed = { status: "failed", error: cause.error, lastError: "", errorReason: "MODEL_FAILED" };
  expect((await person.conversations.getRun({ runId: other.run?.id })).run).toMatchObject(failed);
});
