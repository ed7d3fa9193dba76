import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { type MessageRow, messageColumns, toMessage } from "./rows.ts";

/**
 * Messages of conversation `$1` with numbers in (`$2`, `$3`], oldest first. The range bounds the work, however long the
 * conversation is.
 */
const rangeSql = `
select ${messageColumns} from messages
where conversation_id = $1 and sequence_number > $2 and sequence_number <= $3
order by sequence_number`;

/** Messages of a conversation by sequence number: after `after`, up to `upTo`. The caller has checked the owner. */
export async function readMessages(
  db: Queryable,
  range: { conversationId: string; after: number; upTo: number },
): Promise<Message[]> {
  const { rows } = await db.query<MessageRow>({
    name: "messages-range",
    text: rangeSql,
    values: [range.conversationId, range.after, range.upTo],
  });
  return rows.map((row) => toMessage(range.conversationId, row));
}
