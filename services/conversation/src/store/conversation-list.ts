import type { Conversation } from "@turnwright/contract/conversation/v1/conversation";
import { afterPosition, createdUsColumn, type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { type ConversationRow, conversationColumns, toConversation } from "./rows.ts";

/** The conversations that a list has. */
export interface ConversationFilter {
  /** Texts that the title has, all of them, in capitals or not. */
  readonly words: readonly string[];
  /** Agent that the conversation is bound to; empty: any. */
  readonly agent: string;
  /** Empty: all. */
  readonly status: string;
  /** Creation time, inclusive, as SQL text; undefined: none. */
  readonly from?: string;
  /** Creation time, exclusive, as SQL text; undefined: none. */
  readonly to?: string;
  readonly archived: boolean;
}

/**
 * One statement for each index: archived conversations are few among many. The other conditions are checked row by row
 * within the user's part of the index. An index of words would not serve: under row security, PostgreSQL uses no
 * operator in an index that could leak what it compares, and only equality and order are known not to. Exported for the
 * test of their plans.
 */
export const listSql = (isArchived: boolean): string => `
select coalesce((select conversations from user_totals where user_id = $1), 0) as total, (
    select json_agg(c order by c.created_at desc, c.id desc)
    from (
      select ${conversationColumns}, ${createdUsColumn}
      from conversations
      where user_id = $1 and deleted_at is null and ${isArchived ? "archived" : "not archived"}
        and ${afterPosition("$2", "$3")} and created_at >= $5::timestamptz and created_at < $6::timestamptz
        and ($7 = '' or agent_type = $7) and ($8 = '' or status = $8) and title ilike all ($9::text[])
      order by created_at desc, id desc
      limit $4
    ) c
  ) as conversations`;

interface ListRow {
  readonly total: number;
  readonly conversations: (ConversationRow & { readonly created_us: number })[] | null;
}

/** A pattern of LIKE for titles that have a text. */
function patternOf(word: string): string {
  return `%${word.replaceAll(/[\\%_]/g, "\\$&")}%`;
}

/** The values of a statement of `listSql`. */
export function listValues(
  { userId, after, limit }: { userId: string; after: KeysetPosition; limit: number },
  { words, agent, status, from = "-infinity", to = "infinity" }: ConversationFilter,
): unknown[] {
  // One row more than the page shows whether another page follows.
  return [userId, after.createdUs, after.id, limit + 1, from, to, agent, status, words.map(patternOf)];
}

/**
 * A page of a user's conversations, newest first. `total` counts all of the user's. `next` is the start of the
 * following page; unset on the last.
 */
export async function listConversations(
  db: Queryable,
  asked: { userId: string; after: KeysetPosition; limit: number },
  filter: ConversationFilter,
): Promise<{ conversations: Conversation[]; total: number; next?: KeysetPosition }> {
  const { rows } = await db.query<ListRow>({
    name: filter.archived ? "conversations-list-archived" : "conversations-list",
    text: listSql(filter.archived),
    values: listValues(asked, filter),
  });
  const found = rows[0]?.conversations ?? [];
  const { page, next } = keysetPage(found, asked.limit, ({ id }) => id);
  return { conversations: page.map(toConversation), total: rows[0]?.total ?? 0, next };
}
