import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { notFound } from "./conversations.ts";
import { fitting, fittingLast, textsOf } from "./response-size.ts";
import { newestMessages, type ShownRow, shownRows, toShown } from "./shown-messages.ts";

const pageOf = (rows: string) => `
select c.id, c.message_count, (select json_agg(m order by m.sequence_number) from (${rows}) m) as messages
from conversations c
where c.id = $1 and c.user_id = $2 and c.deleted_at is null`;

const forwardsSql = pageOf(
  shownRows("sequence_number > $3::integer and sequence_number <= $3::integer + $4::integer", "sequence_number", "$5::integer"),
);

const backwardsSql = pageOf(newestMessages("$4::integer", "least($3::integer - 1, c.message_count)", "$5::integer"));

interface PageRow {
  readonly id: string;
  readonly message_count: number;
  readonly messages: ShownRow[] | null;
}

/** Greater than every sequence number. */
export const messagesEnd = 2_147_483_647;

/**
 * A page of a conversation's messages, oldest first: those after a sequence number, or the newest before one. `hasMore`
 * tells whether more follow in that direction. Throws NOT_FOUND.
 */
export async function listMessages(
  db: Queryable,
  asked: {
    userId: string;
    conversationId: string;
    after: number;
    before?: number;
    limit: number;
    /** The most bytes of a text; undefined: all. */
    contentLimit?: number;
  },
): Promise<{ messages: Message[]; hasMore: boolean }> {
  const { conversationId, userId, before, limit, contentLimit } = asked;
  const after = Math.min(asked.after, messagesEnd - limit);
  const statement =
    before === undefined ? { name: "messages-page", text: forwardsSql } : { name: "messages-page-before", text: backwardsSql };
  const values = [conversationId, userId, before ?? after, limit, contentLimit ?? null];
  const { rows } = await db.query<PageRow>({ ...statement, values });
  const row = rows[0];
  if (row === undefined) throw notFound();
  const read = (row.messages ?? []).map((message) => toShown(row.id, message, contentLimit));
  if (before !== undefined) {
    const messages = fittingLast(read, []);
    return { messages, hasMore: (messages[0]?.sequenceNumber ?? 1) > 1 };
  }
  const messages = fitting(read, textsOf);
  return { messages, hasMore: (messages.at(-1)?.sequenceNumber ?? row.message_count) < row.message_count };
}

const contentSql = `
select case when $4::integer is null then m.content
  else coalesce(nullif(m.parts -> ($4::integer - 1) ->> 'image_url', ''), m.parts -> ($4::integer - 1) ->> 'text') end as content
from conversations c join messages m on m.conversation_id = c.id
where c.id = $1 and c.user_id = $2 and c.deleted_at is null and m.sequence_number = $3`;

/** The whole text of a message, or the text or data URL of one of its parts, from 1. Throws NOT_FOUND. */
export async function getMessageContent(
  db: Queryable,
  asked: { userId: string; conversationId: string; sequenceNumber: number; part?: number },
): Promise<string> {
  const values = [asked.conversationId, asked.userId, asked.sequenceNumber, asked.part ?? null];
  const { rows } = await db.query<{ content: string | null }>({ name: "message-content", text: contentSql, values });
  const content = rows[0]?.content;
  if (typeof content === "string") return content;
  if (rows.length === 0) throw fail(ErrorReason.NOT_FOUND, "There is no such message.", { param: "sequence_number" });
  throw fail(ErrorReason.NOT_FOUND, "The message has no such part.", { param: "part" });
}
