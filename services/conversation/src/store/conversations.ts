import type { Approval, Conversation, Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { fittingLast } from "./response-size.ts";
import {
  type ApprovalRow,
  approvalColumns,
  type ConversationRow,
  conversationColumns,
  toApproval,
  toConversation,
} from "./rows.ts";
import { newestMessages, type ShownRow, toShown } from "./shown-messages.ts";

const getSql = `
select row_to_json(c) as conversation, (
    select json_agg(m order by m.sequence_number) from (${newestMessages("$3::integer", "c.message_count", "$4::integer")}) m
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
  readonly messages: ShownRow[] | null;
  readonly approvals: ApprovalRow[] | null;
}

/**
 * A conversation with its newest messages, `limit` at most, and its pending approvals, from one snapshot. Throws
 * NOT_FOUND.
 */
export async function getConversation(
  db: Queryable,
  asked: { userId: string; conversationId: string; limit: number; contentLimit?: number },
): Promise<{ conversation: Conversation; messages: Message[]; pendingApprovals: Approval[]; hasMore: boolean }> {
  const { rows } = await db.query<GetRow>({
    name: "conversation-get",
    text: getSql,
    values: [asked.conversationId, asked.userId, asked.limit, asked.contentLimit ?? null],
  });
  const row = rows[0];
  if (row === undefined) throw notFound();
  const conversation = toConversation(row.conversation);
  const pendingApprovals = (row.approvals ?? []).map(toApproval);
  const messages = fittingLast(
    (row.messages ?? []).map((message) => toShown(conversation.id, message, asked.contentLimit)),
    pendingApprovals.map((approval) => approval.arguments),
  );
  return { conversation, messages, pendingApprovals, hasMore: messages.length < conversation.messageCount };
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

/** Changes to a conversation; undefined: as it is. */
export interface ConversationChange {
  readonly title?: string;
  readonly tags?: readonly string[];
  readonly archived?: boolean;
}

const updateSql = `
update conversations
set title = coalesce($3, title), tags = coalesce($4::text[], tags), archived = coalesce($5, archived), updated_at = now()
where id = $1 and user_id = $2 and deleted_at is null
returning (select row_to_json(c) from (select ${conversationColumns}) c) as conversation`;

/** Changes a conversation. Throws NOT_FOUND. */
export async function updateConversation(
  db: Queryable,
  asked: { userId: string; conversationId: string },
  { title, tags, archived }: ConversationChange,
): Promise<Conversation> {
  const { rows } = await db.query<{ conversation: ConversationRow }>({
    name: "conversation-update",
    text: updateSql,
    values: [asked.conversationId, asked.userId, title ?? null, tags ?? null, archived ?? null],
  });
  if (rows[0] === undefined) throw notFound();
  return toConversation(rows[0].conversation);
}

/** The refusal of a conversation that the user does not have. */
export function notFound() {
  return fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
}
