import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Tx } from "@turnwright/platform/postgres/pool";
import { notFound } from "./conversations.ts";
import { type ConversationRow, conversationColumns, toConversation } from "./rows.ts";

/** The most messages of a copy. */
export const maxForkedMessages = 10_000;
/** The most bytes of texts of a copy. */
export const maxForkedBytes = 32 * 1024 * 1024;

/** The length of text is known without reading it; few messages have calls or parts. */
const sizeSql = `
select message_count, (
    select coalesce(sum(octet_length(content)::bigint + octet_length(reasoning) + octet_length(provider_fields)
      + coalesce(octet_length(tool_calls::text), 0) + coalesce(octet_length(parts::text), 0)), 0)::float8
    from messages m
    where m.conversation_id = c.id and sequence_number < $3 and $3 - 1 <= ${maxForkedMessages}
  ) as bytes
from conversations c
where id = $1 and user_id = $2 and deleted_at is null`;

const openSql = `
insert into conversations (id, user_id, title, agent_type, tags, message_count)
select $3, user_id, title, agent_type, tags, $4
from conversations
where id = $1 and user_id = $2 and deleted_at is null
returning (select row_to_json(c) from (select ${conversationColumns}) c) as conversation`;

/** A random UUIDv7, as SQL: a random UUIDv4 with the time in its first 48 bits and with the other version. */
const uuidv7Sql = `encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
  placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1),
  'hex')::uuid`;

const copied = `created_at, sequence_number, prompt_tokens, completion_tokens, latency_ms, role, content, name, tool_calls,
  tool_call_id, model, finish_reason, reasoning, provider_fields, parts`;

const copySql = `
insert into messages (conversation_id, id, ${copied})
select $2, ${uuidv7Sql}, ${copied}
from messages
where conversation_id = $1 and sequence_number < $3`;

const countSql = `
insert into user_totals (user_id, conversations) values ($1, 1)
on conflict (user_id) do update set conversations = user_totals.conversations + 1`;

/**
 * Copies the messages of a conversation before a sequence number into a new one. They keep their times and lose their
 * run, which belongs to the original. Throws NOT_FOUND, INVALID_REQUEST for a number behind the end, TOO_LARGE.
 */
export async function forkConversation(
  tx: Tx,
  asked: {
    userId: string;
    conversationId: string;
    beforeSequence: number;
    /** UUID of the copy. */
    forkId: string;
  },
): Promise<Conversation> {
  const { userId, conversationId, beforeSequence, forkId } = asked;
  const original = [conversationId, userId];
  const sized = await tx.query<{ message_count: number; bytes: number }>({
    name: "conversation-fork-size",
    text: sizeSql,
    values: [...original, beforeSequence],
  });
  const size = sized.rows[0];
  if (size === undefined) throw notFound();
  if (beforeSequence > size.message_count + 1) {
    const message = `before_sequence: must be at most ${size.message_count + 1}, the number behind the last message`;
    throw fail(ErrorReason.INVALID_REQUEST, message, { param: "before_sequence" });
  }
  if (beforeSequence - 1 > maxForkedMessages || size.bytes > maxForkedBytes) {
    const message = `A copy takes at most ${maxForkedMessages} messages with ${maxForkedBytes / 1024 / 1024} MiB of text.`;
    throw fail(ErrorReason.TOO_LARGE, message, { param: "before_sequence" });
  }
  const { rows } = await tx.query<{ conversation: ConversationRow }>({
    name: "conversation-fork",
    text: openSql,
    values: [...original, forkId, beforeSequence - 1],
  });
  if (rows[0] === undefined) throw notFound();
  await tx.query({ name: "conversation-fork-copy", text: copySql, values: [conversationId, forkId, beforeSequence] });
  await tx.query({ name: "conversation-fork-count", text: countSql, values: [userId] });
  return toConversation(rows[0].conversation);
}
