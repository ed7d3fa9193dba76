import { toJson } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ConversationService, UpdateConversationRequest } from "@turnwright/contract/conversation/v1/conversation_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import type { Idempotency } from "@turnwright/platform/postgres/idempotency";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { NameKeys } from "../key-names.ts";
import { getApproval, listApprovals } from "../store/approvals.ts";
import { listConversations } from "../store/conversation-list.ts";
import { type ConversationChange, deleteConversation, getConversation, updateConversation } from "../store/conversations.ts";
import { forkConversation } from "../store/fork-conversation.ts";
import { getMessageContent, listMessages } from "../store/message-pages.ts";
import { listRuns } from "../store/run-list.ts";
import { getRun } from "../store/runs.ts";
import { cursorAfter, cursorBefore, messagePosition } from "./message-cursor.ts";
import { runFilter } from "./run-filter.ts";
import { includedSteps, pageOfSteps } from "./run-steps.ts";

/** Handlers of the record. The statements and the database's policies both limit each of them to the caller's rows. */
export function conversationHandlers({
  users,
  idempotency,
  nameKeys,
}: {
  users: UserPool;
  idempotency: Idempotency;
  nameKeys: NameKeys;
}): ServiceImpl<typeof ConversationService> {
  return {
    async listConversations({ limit = 50, cursor, q, agentType: agent, status, from, to, archived = false }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, after: decodeCursor(cursor), limit };
      const filter = { words: wordsOf(q), agent, status, from: from && timeOf(from), to: to && timeOf(to), archived };
      const { next, ...page } = await users.as(userId, (db) => listConversations(db, asked, filter));
      return { ...page, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getConversation({ conversationId, limit = 500, contentLimit }, ctx) {
      const { userId } = requireIdentity(ctx);
      const found = await users.as(userId, (db) => getConversation(db, { userId, conversationId, limit, contentLimit }));
      return { ...found, nextCursor: cursorBefore(found, found.conversation.messageCount + 1) };
    },
    async listMessages({ conversationId, limit = 100, order, contentLimit, ...position }, ctx) {
      const { userId } = requireIdentity(ctx);
      const isNewestFirst = order === "desc";
      const { after = 0, before } = messagePosition(position, isNewestFirst);
      const asked = { userId, conversationId, after, before, limit, contentLimit };
      const page = await users.as(userId, (db) => listMessages(db, asked));
      const nextCursor = before === undefined ? cursorAfter(page) : cursorBefore(page);
      return { ...page, messages: isNewestFirst ? page.messages.toReversed() : page.messages, nextCursor };
    },
    async getMessageContent({ conversationId, sequenceNumber, part }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, conversationId, sequenceNumber, part };
      return { content: await users.as(userId, (db) => getMessageContent(db, asked)) };
    },
    async updateConversation(request, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, conversationId: request.conversationId };
      const change = changeOf(request);
      return { conversation: await users.as(userId, (db) => updateConversation(db, asked, change)) };
    },
    async listApprovals({ status, limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, status: status || "pending", after: decodeCursor(cursor), limit };
      const { approvals, next } = await users.as(userId, (db) => listApprovals(db, asked));
      return { approvals, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getApproval({ approvalId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return { approval: await users.as(userId, (db) => getApproval(db, { userId, approvalId })) };
    },
    async listRuns({ conversationId, status, statuses, limit = 50, cursor, ...fields }, ctx) {
      const { userId } = requireIdentity(ctx);
      const filter = runFilter({ ...fields, statuses: [status, ...statuses] });
      const asked = { userId, conversationId, filter, after: decodeCursor(cursor), limit };
      const { runs, next } = await users.as(userId, (db) => listRuns(db, asked));
      await nameKeys(runs);
      return { runs, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getRun({ runId, include }, ctx) {
      const { userId } = requireIdentity(ctx);
      const found = await users.as(userId, async (db) => {
        const run = await getRun(db, { userId, runId });
        if (!include.includes("steps")) return { run };
        const { steps, nextCursor } = await pageOfSteps(db, { userId, run, cursor: "", limit: includedSteps });
        return { run, steps, stepsNextCursor: nextCursor };
      });
      await nameKeys([found.run]);
      return found;
    },
    async forkConversation(request, ctx) {
      const { userId } = requireIdentity(ctx);
      const { conversationId, beforeSequence } = request;
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) => users.transaction(userId, work),
        async act(tx) {
          const asked = { userId, conversationId, beforeSequence, forkId: uuidv7() };
          return { conversation: await forkConversation(tx, asked) };
        },
      });
      return response;
    },
    async deleteConversation({ conversationId }, ctx) {
      const { userId } = requireIdentity(ctx);
      await users.as(userId, (db) => deleteConversation(db, { userId, conversationId }));
      return {};
    },
  };
}

/** The most words of a search. */
const maxWords = 10;

/** The words of a search. Throws INVALID_REQUEST when they are too many. */
function wordsOf(q: string): string[] {
  const words = q.split(/\s+/).filter((word) => word !== "");
  if (words.length <= maxWords) return words;
  throw fail(ErrorReason.INVALID_REQUEST, `q: must have at most ${maxWords} words`, { param: "q" });
}

/** A time as text, with all its digits. */
function timeOf(time: Timestamp): string {
  return toJson(TimestampSchema, time);
}

/** The fields that a request changes. Throws INVALID_REQUEST when there are none, or no title is left to show. */
function changeOf({ title, tags, archived }: UpdateConversationRequest): ConversationChange {
  if (title === undefined && tags === undefined && archived === undefined) {
    throw fail(ErrorReason.INVALID_REQUEST, "Name a field to change: title, tags or archived.");
  }
  const line = title?.replaceAll(/\s+/g, " ").trim();
  if (line === "") throw fail(ErrorReason.INVALID_REQUEST, "title: must not be blank", { param: "title" });
  // The contract's rule has refused values of other kinds.
  const texts = tags?.values.flatMap(({ kind }) => (kind.case === "stringValue" ? [kind.value] : []));
  return { title: line, tags: texts && [...new Set(texts)], archived };
}
