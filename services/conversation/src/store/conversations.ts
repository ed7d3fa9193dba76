import type { Approval, Conversation, Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { fitting, fittingLast, sizedRows, textsOf } from "./response-size.ts";
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

/** Bytes of a message's texts, as SQL. The length of text is known without reading it; few messages have calls. */
const messageBytes = "octet_length(content) + octet_length(reasoning) + coalesce(octet_length(tool_calls::text), 0)";

/** The newest `limit` messages up to the number `upTo`, newest first. `limit` and `upTo` are SQL. */
const newestMessages = (limit: string, upTo: string) =>
  sizedRows(
    `select ${messageColumns} from messages
      where conversation_id = c.id and sequence_number > ${upTo} - ${limit} and sequence_number <= ${upTo}`,
    "sequence_number desc",
    messageBytes,
  );

const getSql = `
select row_to_json(c) as conversation, (
    select json_agg(m order by m.sequence_number) from (${newestMessages("$3::integer", "c.message_count")}) m
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

/**
 * A conversation with its newest messages, `limit` at most, and its pending approvals, from one snapshot. Throws
 * NOT_FOUND.
 */
export async function getConversation(
  db: Queryable,
  asked: { userId: string; conversationId: string; limit: number },
): Promise<{ conversation: Conversation; messages: Message[]; pendingApprovals: Approval[]; hasMore: boolean }> {
  const { rows } = await db.query<GetRow>({
    name: "conversation-get",
    text: getSql,
    values: [asked.conversationId, asked.userId, asked.limit],
  });
  const row = rows[0];
  if (row === undefined) throw notFound();
  const conversation = toConversation(row.conversation);
  const pendingApprovals = (row.approvals ?? []).map(toApproval);
  const messages = fittingLast(
    (row.messages ?? []).map((message) => toMessage(conversation.id, message)),
    pendingApprovals.map((approval) => approval.arguments),
  );
  return { conversation, messages, pendingApprovals, hasMore: messages.length < conversation.messageCount };
}

const pageSql = `
select c.id, c.message_count, (
    select json_agg(m order by m.sequence_number)
    from (${sizedRows(
      `select ${messageColumns} from messages
      where conversation_id = c.id and sequence_number > $3::integer and sequence_number <= $3::integer + $4::integer`,
      "sequence_number",
      messageBytes,
    )}) m
  ) as messages
from conversations c
where c.id = $1 and c.user_id = $2 and c.deleted_at is null`;

const backwardsSql = `
select c.id, c.message_count, (
    select json_agg(m order by m.sequence_number)
    from (${newestMessages("$4::integer", "least($3::integer - 1, c.message_count)")}) m
  ) as messages
from conversations c
where c.id = $1 and c.user_id = $2 and c.deleted_at is null`;

interface PageRow {
  readonly id: string;
  readonly message_count: number;
  readonly messages: MessageRow[] | null;
}

const maxInt32 = 2_147_483_647;

/**
 * A page of a conversation's messages, oldest first: those after a sequence number, or the newest before one. `hasMore`
 * tells whether more follow in that direction. Throws NOT_FOUND.
 */
export async function listMessages(
  db: Queryable,
  asked: { userId: string; conversationId: string; after: number; before?: number; limit: number },
): Promise<{ messages: Message[]; hasMore: boolean }> {
  const { conversationId, userId, before, limit } = asked;
  const after = Math.min(asked.after, maxInt32 - limit);
  const { rows } = await db.query<PageRow>(
    before === undefined
      ? { name: "messages-page", text: pageSql, values: [conversationId, userId, after, limit] }
      : { name: "messages-page-before", text: backwardsSql, values: [conversationId, userId, before, limit] },
  );
  const row = rows[0];
  if (row === undefined) throw notFound();
  const read = (row.messages ?? []).map((message) => toMessage(row.id, message));
  if (before !== undefined) {
    const messages = fittingLast(read, []);
    return { messages, hasMore: (messages[0]?.sequenceNumber ?? 1) > 1 };
  }
  const messages = fitting(read, textsOf);
  return { messages, hasMore: (messages.at(-1)?.sequenceNumber ?? row.message_count) < row.message_count };
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

function notFound() {
  return fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
}
