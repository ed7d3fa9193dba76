import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { type MessageRow, toMessage } from "./rows.ts";

/** The most bytes of messages in a run's context: more than most models read, and far below a mesh message's limit. */
export const maxContextBytes = 2 * 1024 * 1024;
/** The most bytes of one answer or result in a context; a longer one comes as its beginning and its end. */
export const maxContextTextBytes = 256 * 1024;
const headCharacters = 48 * 1024;
const tailCharacters = 16 * 1024;

const isLong = `role <> 'user' and octet_length(content) > ${maxContextTextBytes}`;
const head = `left(content, ${headCharacters})`;
const tail = `right(content, ${tailCharacters})`;
/** The orchestrator reads this note; see its history/left-out.ts. */
const shortened = `${head} || E'\\n[Left out here: ' || (octet_length(content) - octet_length(${head}) - octet_length(${tail}))
  || E' bytes]\\n' || ${tail}`;

/** The length of text is known without reading it; that of calls and parts is not, and few messages have any. */
const sizeOf = `least(octet_length(content), case when role = 'user' then ${2 ** 31 - 1} else ${maxContextTextBytes} end)
  + octet_length(provider_fields) + coalesce(octet_length(tool_calls::text), 0) + coalesce(octet_length(parts::text), 0)`;

const columns = (
  content: string,
) => `id, run_id, role, ${content}, name, tool_calls, tool_call_id, model, prompt_tokens, completion_tokens, latency_ms,
  sequence_number, created_at, finish_reason, parts`;

/**
 * The rows of a context among the messages that fulfil a condition: the newest of them, up to so many bytes in sum.
 * Users' messages are whole; the model's reasoning is left out, because endpoints get it back in the provider's fields.
 */
export const contextRows = (condition: string, mostBytes = String(maxContextBytes)): string => `
  select ${columns(`case when ${isLong} then ${shortened} else content end as content`)},
    '' as reasoning, provider_fields
  from (
    select ${columns("content")}, provider_fields, sum((${sizeOf})::bigint) over (order by sequence_number desc) as bytes_so_far
    from messages
    where ${condition}
  ) newest
  where bytes_so_far <= ${mostBytes}`;

/**
 * The context's messages of conversation `$1` with numbers in (`$2`, `$3`], oldest first. The range bounds the work,
 * however long the conversation is.
 */
const rangeSql = `
${contextRows("conversation_id = $1 and sequence_number > $2 and sequence_number <= $3", "$4::bigint")}
order by sequence_number`;

/**
 * Messages of a conversation for a run's context, by sequence number: after `after`, up to `upTo`; fewer when they are
 * large. The caller has checked the owner.
 */
export async function readMessages(
  db: Queryable,
  range: { conversationId: string; after: number; upTo: number; mostBytes?: number },
): Promise<Message[]> {
  const { rows } = await db.query<MessageRow>({
    name: "messages-range",
    text: rangeSql,
    values: [range.conversationId, range.after, range.upTo, range.mostBytes ?? maxContextBytes],
  });
  return rows.map((row) => toMessage(range.conversationId, row));
}
