import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { limitedParts } from "./message-parts.ts";
import { sizedRows } from "./response-size.ts";
import { type MessageRow, messageColumnsWith, toMessage } from "./rows.ts";

/** A message as `json_agg` writes the columns of `shownColumns`. */
export interface ShownRow extends MessageRow {
  /** Length of the whole text. */
  readonly content_bytes: number;
  /** Length of the whole reasoning. */
  readonly reasoning_bytes: number;
}

/** A column's beginning, in characters, where it has more bytes than `limit`; `limit` is SQL, null: all of it. */
const beginning = (column: string, limit: string) =>
  `case when octet_length(${column}) > ${limit} then left(${column}, ${limit}) else ${column} end as ${column}`;

/** The columns of a `ShownRow`, whose texts have no more than `limit` characters; `limit` is SQL, null: all of them. */
const shownColumns = (
  limit: string,
) => `${messageColumnsWith(beginning("content", limit), beginning("reasoning", limit), limitedParts(limit))},
  octet_length(content) as content_bytes, octet_length(reasoning) as reasoning_bytes`;

/**
 * Bytes of a message's texts, as SQL. The length of text is known without reading it; few messages have calls or parts.
 */
const messageBytes = `octet_length(content) + octet_length(reasoning) + coalesce(octet_length(tool_calls::text), 0)
  + coalesce(octet_length(parts::text), 0)`;

/** The rows of a page: those of conversation `c` that fulfil a condition, in an order. All arguments are SQL. */
export const shownRows = (condition: string, order: string, contentLimit: string): string =>
  sizedRows(
    `select ${shownColumns(contentLimit)} from messages where conversation_id = c.id and ${condition}`,
    order,
    messageBytes,
  );

/** The newest `limit` messages up to the number `upTo`, newest first. All arguments are SQL. */
export const newestMessages = (limit: string, upTo: string, contentLimit: string): string =>
  shownRows(`sequence_number > ${upTo} - ${limit} and sequence_number <= ${upTo}`, "sequence_number desc", contentLimit);

/** The first bytes of a text, up to `limit`, without a part of a character. */
function firstBytes(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text;
  const bytes = Buffer.from(text);
  let end = limit;
  // The further bytes of a character begin with the bits 10.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString();
}

/** A message for its user, with texts of at most `contentLimit` bytes; undefined: whole texts. */
export function toShown(conversationId: string, row: ShownRow, contentLimit: number | undefined): Message {
  const message = toMessage(conversationId, row);
  if (contentLimit === undefined) return message;
  const content = firstBytes(message.content, contentLimit);
  const reasoning = firstBytes(message.reasoning, contentLimit);
  return {
    ...message,
    content,
    reasoning,
    truncatedBytes: row.content_bytes - Buffer.byteLength(content),
    truncatedReasoningBytes: row.reasoning_bytes - Buffer.byteLength(reasoning),
  };
}
