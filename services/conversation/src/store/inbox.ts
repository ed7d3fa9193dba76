import { create } from "@bufbuild/protobuf";
import { type InboxCounts, InboxCountsSchema, type InboxItem, InboxItemSchema } from "@turnwright/contract/conversation/v1/inbox";
import { afterPosition, createdUsOf, type KeysetPosition } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { type SizedRow, sizedPage, sizedRows } from "./response-size.ts";
import { toTimestamp } from "./rows.ts";

/** The most characters of a call's arguments in the inbox. */
const maxArguments = 4_096;
/** The most characters of a message's text in the inbox. */
const maxText = 200;
/** The messages of a conversation that an item shows. */
const shownMessages = 4;
/** The count at which counting ends. */
const maxCount = 1_000;

interface ItemRow extends SizedRow {
  readonly id: string;
  readonly kind: "approval" | "review";
  readonly status: string;
  readonly conversation_id: string;
  readonly run_id: string;
  readonly title: string;
  readonly agent: string;
  readonly token_id: string | null;
  readonly call_id: string;
  readonly tool_name: string;
  readonly tool_version: string;
  readonly arguments: string;
  readonly arguments_bytes: number;
  readonly is_edited: boolean;
  readonly unsettled: { calls?: { id: string; name: string; arguments: string }[] } | null;
  readonly before: { role: string; name: string; text: string; bytes: number }[] | null;
  readonly created_at: Date;
  readonly waiting_since: Date;
  readonly expires_at: Date | null;
  readonly decided_at: Date | null;
  readonly decided_by: string | null;
  readonly decided_by_name: string;
  readonly decided_via: string;
  readonly reason: string;
}

const approvalColumns = `'approval' as kind, id, run_id, conversation_id, status, created_at, created_at as waiting_since,
  expires_at, decided_at, decided_by, decided_by_name, decided_via, reason, call_id, tool_name, tool_version,
  left(coalesce(edited_arguments, arguments), ${maxArguments}) as arguments,
  octet_length(coalesce(edited_arguments, arguments)) as arguments_bytes, edited_arguments is not null as is_edited`;
const reviewColumns = `'review' as kind, run_id as id, run_id, conversation_id, status, created_at, updated_at as waiting_since,
  null::timestamptz as expires_at, null::timestamptz as decided_at, null::uuid as decided_by, '' as decided_by_name,
  '' as decided_via, '' as reason, '' as call_id, '' as tool_name, '' as tool_version, '' as arguments,
  0 as arguments_bytes, false as is_edited`;

/** The newest messages before a call. A conversation whose run waits gets no further ones. */
const beforeSql = `(
    select json_agg(json_build_object('role', m.role, 'name', m.name, 'text', left(m.content, ${maxText}),
        'bytes', octet_length(m.content)) order by m.sequence_number)
    from messages m
    where m.conversation_id = i.conversation_id and m.sequence_number > c.message_count - ${shownMessages}
      and m.sequence_number <= c.message_count and m.content <> ''
  )`;

const unsettledSql = `case when i.kind = 'review' then (
    select e.payload from run_events e where e.run_id = i.run_id and e.type = 'needs_review' order by e.seq desc limit 1
  ) end`;

/**
 * A page of items that are sorted by a time and their ids: each of the sources is read in this order by an index, and
 * no further than the page.
 */
function pageSql(sources: readonly string[], sortedBy: string, isOldestFirst: boolean): string {
  const direction = isOldestFirst ? "asc" : "desc";
  const order = `${sortedBy} ${direction}, id ${direction}`;
  return `${sizedRows(
    `select i.*, ${createdUsOf(`i.${sortedBy}`)}, r.agent, r.token_id,
      case when c.deleted_at is null then c.title else '' end as title, ${unsettledSql} as unsettled,
      ${sortedBy === "decided_at" ? "null::json" : beforeSql} as before
    from (select * from (${sources.map((source) => `(${source})`).join(" union all ")}) s order by ${order} limit $4) i
      join runs r on r.run_id = i.run_id join conversations c on c.id = i.conversation_id`,
    order,
    "octet_length(arguments) + coalesce(octet_length(unsettled::text), 0) + coalesce(octet_length(before::text), 0)",
  )}
order by ${order}`;
}

function pendingSql(isOldestFirst: boolean): string {
  const direction = isOldestFirst ? "asc" : "desc";
  const after = (id: string) => afterPosition("$2", "$3", { createdAt: "created_at", id }, { isOldestFirst });
  const source = (columns: string, table: string, condition: string, id: string) => `
    select ${columns} from ${table} where user_id = $1 and ${condition} and ${after(id)}
    order by created_at ${direction}, ${id} ${direction} limit $4`;
  return pageSql(
    [
      source(approvalColumns, "approvals", "status = 'pending'", "id"),
      source(reviewColumns, "runs", "status = 'needs_review'", "run_id"),
    ],
    "created_at",
    isOldestFirst,
  );
}

function decidedSql(isOldestFirst: boolean): string {
  const direction = isOldestFirst ? "asc" : "desc";
  const after = afterPosition("$2", "$3", { createdAt: "decided_at", id: "id" }, { isOldestFirst });
  const source = `
    select ${approvalColumns} from approvals where user_id = $1 and status in ('approved', 'rejected') and ${after}
    order by decided_at ${direction}, id ${direction} limit $4`;
  return pageSql([source], "decided_at", isOldestFirst);
}

/** The statements by what is shown and in which order. Exported for the test of their plans. */
export const inboxStatements = {
  pending: {
    newest: { name: "inbox-pending", text: pendingSql(false) },
    oldest: { name: "inbox-pending-oldest", text: pendingSql(true) },
  },
  decided: {
    newest: { name: "inbox-decided", text: decidedSql(false) },
    oldest: { name: "inbox-decided-oldest", text: decidedSql(true) },
  },
};

const countsSql = `
select (select count(*)::integer from (select from approvals where user_id = $1 and status = 'pending' limit ${maxCount}) p) as approvals,
  (select count(*)::integer from (select from runs where user_id = $1 and status = 'needs_review' limit ${maxCount}) p) as reviews,
  least(
    (select created_at from approvals where user_id = $1 and status = 'pending' order by created_at, id limit 1),
    (select created_at from runs where user_id = $1 and status = 'needs_review' order by created_at, run_id limit 1)
  ) as oldest_at`;

/** A page of a user's inbox, and counts of all that waits. `next` is the start of the following page. */
export async function listInbox(
  db: Queryable,
  asked: { userId: string; isDecided: boolean; isOldestFirst: boolean; after: KeysetPosition; limit: number },
): Promise<{ items: InboxItem[]; counts: InboxCounts; next?: KeysetPosition }> {
  const { userId, after, limit } = asked;
  const { rows } = await db.query<ItemRow>({
    ...inboxStatements[asked.isDecided ? "decided" : "pending"][asked.isOldestFirst ? "oldest" : "newest"],
    // One row more than the page shows whether another page follows.
    values: [userId, after.createdUs, after.id, limit + 1],
  });
  const counted = await db.query<{ approvals: number; reviews: number; oldest_at: Date | null }>({
    name: "inbox-counts",
    text: countsSql,
    values: [userId],
  });
  const { page, next } = sizedPage(rows, limit, ({ id }) => id, textsOf);
  const { approvals = 0, reviews = 0, oldest_at: oldest = null } = counted.rows[0] ?? {};
  const oldestAt = oldest === null ? undefined : toTimestamp(oldest);
  return { items: page.map(toItem), counts: create(InboxCountsSchema, { approvals, reviews, oldestAt }), next };
}

function textsOf(row: ItemRow): string[] {
  const texts = callsOf(row).map((call) => call.arguments);
  return [...texts, row.title, row.reason, ...(row.before ?? []).map(({ text }) => text)];
}

function callsOf(row: ItemRow) {
  if (row.kind === "review") {
    return (row.unsettled?.calls ?? []).map(({ id, name, arguments: json }) => ({
      callId: id,
      toolName: name,
      arguments: json.slice(0, maxArguments).toWellFormed(),
      argumentsBytes: Buffer.byteLength(json),
    }));
  }
  const { call_id: callId, tool_name: toolName, tool_version: toolVersion, arguments_bytes: argumentsBytes } = row;
  return [{ callId, toolName, toolVersion, arguments: row.arguments, argumentsBytes, isEdited: row.is_edited }];
}

function toItem(row: ItemRow): InboxItem {
  return create(InboxItemSchema, {
    id: row.id,
    kind: row.kind,
    status: row.status,
    conversationId: row.conversation_id,
    runId: row.run_id,
    title: row.title,
    agentType: row.agent,
    requestedByTokenId: row.token_id ?? "",
    calls: callsOf(row),
    before: row.before ?? [],
    createdAt: toTimestamp(row.created_at),
    waitingSince: toTimestamp(row.waiting_since),
    expiresAt: row.expires_at === null ? undefined : toTimestamp(row.expires_at),
    decidedAt: row.decided_at === null ? undefined : toTimestamp(row.decided_at),
    decidedBy: row.decided_by ?? "",
    decidedByName: row.decided_by_name,
    decidedVia: row.decided_via,
    reason: row.reason,
  });
}
