import type { Approval, Conversation, Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import {
  type ApprovalRow,
  approvalColumns,
  type ConversationRow,
  conversationColumns,
  type MessageRow,
  messageColumns,
  toApproval,
  toConversation,
  toMessage,
} from "./rows.ts";

/** Exported for the test of its plan. */
export const listSql = `
select coalesce((select conversations from user_totals where user_id = $1), 0) as total, (
    select json_agg(c order by c.created_at desc, c.id desc)
    from (
      select ${conversationColumns}, ${createdUsColumn}
      from conversations
      where user_id = $1 and deleted_at is null
        and ${afterPosition("$2", "$3")}
      order by created_at desc, id desc
      limit $4
    ) c
  ) as conversations`;

interface ListRow {
  readonly total: number;
  readonly conversations: (ConversationRow & { readonly created_us: number })[] | null;
}

/** A page of a user's conversations, newest first. `next` is the start of the following page; unset on the last. */
export async function listConversations(
  db: Queryable,
  asked: { userId: string; after: KeysetPosition; limit: number },
): Promise<{ conversations: Conversation[]; total: number; next?: KeysetPosition }> {
  const { userId, after, limit } = asked;
  const { rows } = await db.query<ListRow>({
    name: "conversations-list",
    text: listSql,
    // One row more than the page shows whether another page follows.
    values: [userId, after.createdUs, after.id, limit + 1],
  });
  const found = rows[0]?.conversations ?? [];
  const { page, next } = keysetPage(found, limit, ({ id }) => id);
  return {
    conversations: page.map(toConversation),
    total: rows[0]?.total ?? 0,
    next,
  };
}

const getSql = `
select row_to_json(c) as conversation, (
    select json_agg(m order by m.sequence_number)
    from (select ${messageColumns} from messages where conversation_id = c.id) m
  ) as messages, (
    select json_agg(a order by a.position)
    from (
      select ${approvalColumns}, position from approvals
      where user_id = $2 and conversation_id = c.id and status = 'pending'
    ) a
  ) as approvals
from (
  select ${conversationColumns} from conversations
  where id = $1 and user_id = $2 and deleted_at is null
) c`;

interface GetRow {
  readonly conversation: ConversationRow;
  readonly messages: MessageRow[] | null;
  readonly approvals: ApprovalRow[] | null;
}

/** A conversation with its messages and pending approvals, from one snapshot. Throws NOT_FOUND. */
export async function getConversation(
  db: Queryable,
  asked: { userId: string; conversationId: string },
): Promise<{ conversation: Conversation; messages: Message[]; pendingApprovals: Approval[] }> {
  const { rows } = await db.query<GetRow>({
    name: "conversation-get",
    text: getSql,
    values: [asked.conversationId, asked.userId],
  });
  const row = rows[0];
  if (row === undefined) throw notFound();
  const conversation = toConversation(row.conversation);
  return {
    conversation,
    messages: (row.messages ?? []).map((message) => toMessage(conversation.id, message)),
    pendingApprovals: (row.approvals ?? []).map(toApproval),
  };
}

const pageSql = `
select c.id, (
    select json_agg(m order by m.sequence_number)
    from (
      select ${messageColumns} from messages
      where conversation_id = c.id and sequence_number > $3::integer and sequence_number <= $3::integer + $4::integer
    ) m
  ) as messages, c.message_count > $3::integer + $4::integer as has_more
from conversations c
where c.id = $1 and c.user_id = $2 and c.deleted_at is null`;

interface PageRow {
  readonly id: string;
  readonly messages: MessageRow[] | null;
  readonly has_more: boolean;
}

const maxInt32 = 2_147_483_647;

/** A page of a conversation's messages after a sequence number, oldest first. Throws NOT_FOUND. */
export async function listMessages(
  db: Queryable,
  asked: { userId: string; conversationId: string; after: number; limit: number },
): Promise<{ messages: Message[]; hasMore: boolean }> {
  const after = Math.min(asked.after, maxInt32 - asked.limit);
  const { rows } = await db.query<PageRow>({
    name: "messages-page",
    text: pageSql,
    values: [asked.conversationId, asked.userId, after, asked.limit],
  });
  const row = rows[0];
  if (row === undefined) throw notFound();
  return { messages: (row.messages ?? []).map((message) => toMessage(row.id, message)), hasMore: row.has_more };
}

/**
 * Cancels the live run and the queued ones. A run that begins at the moment of the deletion continues unseen: nobody
 * can read the conversation, so its commits do no harm.
 */
const deleteSql = `
with cancelled as (
  update runs
  set status = 'cancelled', cancel_requested = true, epoch = epoch + 1, seq = seq + 1, updated_at = now()
  where conversation_id = $1 and user_id = $2 and status in ('queued', 'running', 'waiting', 'needs_review')
  returning run_id, seq
), logged as (
  insert into run_events (run_id, seq, type, payload)
  select run_id, seq, 'cancelled', '{"reason":"conversation_deleted"}'::json from cancelled
), refused as (
  update approvals a
  set status = 'rejected', reason = 'The conversation was deleted.', decided_by = $2, decided_at = now()
  from cancelled
  where a.run_id = cancelled.run_id and a.status = 'pending'
), deleted as (
  update conversations
  set deleted_at = now(), updated_at = now(), status = 'archived', active_run_id = null
  where id = $1 and user_id = $2 and deleted_at is null and (select count(*) from cancelled) >= 0
  returning user_id
), counted as (
  update user_totals t set conversations = t.conversations - 1 from deleted where t.user_id = deleted.user_id
)
select from deleted`;

/** Deletes a conversation and cancels its runs. Throws NOT_FOUND, also for a deleted one. */
export async function deleteConversation(db: Queryable, asked: { userId: string; conversationId: string }): Promise<void> {
  const { rowCount } = await db.query({
    name: "conversation-delete",
    text: deleteSql,
    values: [asked.conversationId, asked.userId],
  });
  if (rowCount === 0) throw notFound();
}

function notFound() {
  return fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
}
