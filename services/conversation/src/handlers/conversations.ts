import type { ServiceImpl } from "@connectrpc/connect";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import { getApproval, listApprovals } from "../store/approvals.ts";
import { deleteConversation, getConversation, listConversations, listMessages } from "../store/conversations.ts";
import { getRun, listRuns } from "../store/runs.ts";
import { cursorAfter, cursorBefore, messagePosition } from "./message-cursor.ts";

/** Handlers of the record. The statements and the database's policies both limit each of them to the caller's rows. */
export function conversationHandlers({ users }: { users: UserPool }): ServiceImpl<typeof ConversationService> {
  return {
    async listConversations({ limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const after = decodeCursor(cursor);
      const { next, ...page } = await users.as(userId, (db) => listConversations(db, { userId, after, limit }));
      return { ...page, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getConversation({ conversationId, limit = 500 }, ctx) {
      const { userId } = requireIdentity(ctx);
      const found = await users.as(userId, (db) => getConversation(db, { userId, conversationId, limit }));
      return { ...found, nextCursor: cursorBefore(found, found.conversation.messageCount + 1) };
    },
    async listMessages({ conversationId, limit = 100, ...asked }, ctx) {
      const { userId } = requireIdentity(ctx);
      const { after = 0, before } = messagePosition(asked);
      const page = await users.as(userId, (db) => listMessages(db, { userId, conversationId, after, before, limit }));
      return { ...page, nextCursor: before === undefined ? cursorAfter(page) : cursorBefore(page) };
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
    async listRuns({ conversationId, status, limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, conversationId, status, after: decodeCursor(cursor), limit };
      const { runs, next } = await users.as(userId, (db) => listRuns(db, asked));
      return { runs, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getRun({ runId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return { run: await users.as(userId, (db) => getRun(db, { userId, runId })) };
    },
    async deleteConversation({ conversationId }, ctx) {
      const { userId } = requireIdentity(ctx);
      await users.as(userId, (db) => deleteConversation(db, { userId, conversationId }));
      return {};
    },
  };
}
