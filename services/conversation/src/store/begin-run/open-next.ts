import type pg from "pg";
import { createGroupWriter, type GroupLimits, rowsSource } from "../group-commit.ts";
import { partRows } from "../message-parts.ts";
import { contextRows } from "../messages.ts";
import { conversationColumns } from "../rows.ts";
import {
  type FullOpening,
  isNew,
  maxMessages,
  type OpenedRow,
  type OpeningItem,
  openingColumns,
  openingItem,
  unlessTaken,
} from "./opening.ts";

/**
 * Locks in the order of every statement here: the live run, then the conversation. `superseded` runs before `opened`,
 * which reads it, and `started` after both. The statement sees runs and messages as of its start; after a wait for the
 * conversation only that row is current. So the row's `active_run_id` decides whether the conversation is free, and
 * messages may be missing (see `earlier`). An overdue run whose graph version the caller does not drive is left to a
 * worker that does. If the conversation is not free, the run is queued and its message is stored with it until it
 * begins. Exported for the test of its plan.
 */
export const openNextSql = `
with live as (
  select r.run_id, r.status, r.status = 'running' and coalesce(r.deadline_at <= now(), false)
    and r.graph_version between $16::integer and $8::integer as overdue
  from conversations c join runs r on r.run_id = c.active_run_id
  where c.id = $1 and c.user_id = $2 and r.status in ('queued', 'running', 'waiting', 'needs_review')
  for no key update of r
), ahead as (
  select from runs where conversation_id = $1 and status = 'queued' limit 1
), superseded as (
  update runs r
  set status = 'failed', error = 'The run passed its deadline.', epoch = r.epoch + 1, seq = r.seq + 1, updated_at = now()
  from live
  where r.run_id = live.run_id and live.overdue and not $13::boolean and not exists (select from ahead)
  returning r.run_id, r.seq
), logged as (
  insert into run_events (run_id, seq, type, payload)
  select run_id, seq, 'failed', '{"reason":"ERROR_REASON_DEADLINE_EXCEEDED"}'::json from superseded
), opened as (
  update conversations
  set message_count = message_count + 1, active_run_id = $5, updated_at = now(), last_message_at = now()
  where id = $1 and user_id = $2 and deleted_at is null and not $13::boolean and message_count < ${maxMessages}
    and not exists (select from live where run_id not in (select run_id from superseded))
    and not exists (select from ahead)
    and active_run_id is not distinct from (select run_id from superseded)
  returning ${conversationColumns}
), said as (
  insert into messages (conversation_id, id, run_id, sequence_number, role, content, parts)
  select id, $3, $5, message_count, 'user', $4, $18::json from opened
), started as (
  insert into runs (run_id, conversation_id, user_id, token_id, family_id, status, epoch, owner, graph_version, deadline_seconds,
    deadline_at, state, idempotency_key, request_hash)
  select $5, id, user_id, $6, $17, 'running', 1, $7, $8, $9::integer, now() + $9::integer * interval '1 second', $11::json,
    $14, $15
  from opened
), queued as (
  insert into runs (run_id, conversation_id, user_id, token_id, family_id, status, graph_version, deadline_seconds, state, input,
    input_parts, priority, idempotency_key, request_hash)
  select $5, c.id, c.user_id, $6, $17, 'queued', $8, $9, $11::json, $4, $18::json, ($12 = 'interrupt')::integer, $14, $15
  from conversations c
  where c.id = $1 and c.user_id = $2 and c.deleted_at is null and c.message_count < ${maxMessages}
    and not exists (select from opened)
    and case $12
      when 'interrupt' then true
      when 'reject' then $13::boolean and not exists (select from live) and not exists (select from ahead)
      else not exists (select from live where status in ('waiting', 'needs_review'))
    end
  returning run_id
)
select row_to_json(opened) as conversation, live.status as live, live.run_id as live_run_id, now() as at,
  exists (select from queued) as queued,
  opened.id is not null
    or exists (select from conversations where id = $1 and user_id = $2 and deleted_at is null) as known,
  opened.id is null and exists (
    select from conversations where id = $1 and user_id = $2 and deleted_at is null and message_count >= ${maxMessages}
  ) as full,
  (
    select json_agg(m order by m.sequence_number)
    from (${contextRows(`conversation_id = opened.id
      and sequence_number > opened.message_count - $10::integer and sequence_number < opened.message_count`)}
    ) m
  ) as messages
from (select) as always left join opened on true left join live on true`;

/**
 * The same for those of many conversations that are free, as most are, and whose rows no other transaction holds. It
 * waits for no row, so groups cannot deadlock, and a held conversation delays no other. Exported for the test of its
 * plan.
 */
export const openFreeSql = `
with free as (
  select i.conversation_id, i.run_id, i.message_id, i.message, i.token_id, i.family_id, i.owner, i.graph_version,
    i.deadline_seconds,
    i.context_limit, i.state, i.idempotency_key, i.request_hash, i.parts
  from ${rowsSource(openingColumns, "many")} join conversations c on c.id = any (array[i.conversation_id])
  where case when c.deleted_at is null and c.active_run_id is null then c.user_id end = i.user_id
    and c.message_count < ${maxMessages}
    and not exists (select from runs q where q.conversation_id = any (array[i.conversation_id]) and q.status = 'queued')
    and ${isNew}
  for no key update of c skip locked
), opened as (
  update conversations c
  set message_count = c.message_count + 1, active_run_id = i.run_id, updated_at = now(), last_message_at = now()
  from free i
  where c.id = any (array[i.conversation_id])
  returning ${conversationColumns}, i.*
), said as (
  insert into messages (conversation_id, id, run_id, sequence_number, role, content, parts)
  select id, message_id, run_id, message_count, 'user', message, parts from opened
), started as (
  insert into runs (run_id, conversation_id, user_id, token_id, family_id, status, epoch, owner, graph_version, deadline_seconds,
    deadline_at, state, idempotency_key, request_hash)
  select run_id, id, user_id, token_id, family_id, 'running', 1, owner, graph_version, deadline_seconds,
    now() + deadline_seconds * interval '1 second', state::json, idempotency_key, decode(request_hash, 'hex')
  from opened
  order by user_id, idempotency_key, run_id
)
select o.run_id, (select row_to_json(c) from (select ${conversationColumns}) c) as conversation, null as live,
  null as live_run_id,
  false as queued, true as known, now() as at,
  (
    select json_agg(m order by m.sequence_number)
    from (${contextRows(`conversation_id = o.id
      and sequence_number > o.message_count - o.context_limit and sequence_number < o.message_count`)}
    ) m
  ) as messages
from opened o`;

const groupStatement = { name: "runs-begin", text: openFreeSql };

/**
 * Makes the function that begins runs in existing conversations, grouped where these are free. It returns undefined
 * when the run or its key exists already.
 */
export function createOpenNext(pool: pg.Pool, limits: GroupLimits): (opening: FullOpening) => Promise<OpenedRow | undefined> {
  const alone = (opening: FullOpening) => unlessTaken(openNext(pool, opening));
  const write = createGroupWriter<OpeningItem, OpenedRow | undefined>(
    pool,
    { together: () => groupStatement, alone: ({ opening }) => alone(opening) },
    limits,
  );
  // Background runs are queued in any case, so they need no free conversation.
  return (opening) => (opening.request.background ? alone(opening) : write(openingItem(opening)));
}

async function openNext(pool: pg.Pool, opening: FullOpening): Promise<OpenedRow> {
  const { request, userId, tokenId, familyId, owner, messageId, deadlineSeconds, contextLimit } = opening;
  const { runId, conversationId, message, graphVersion, state, concurrency, background, idempotencyKey: key } = request;
  const begin = [
    conversationId,
    userId,
    messageId,
    message,
    runId,
    tokenId || null,
    owner,
    graphVersion,
    deadlineSeconds,
    contextLimit,
  ];
  const parts = partRows(request.parts);
  const hash = key === "" ? null : Buffer.from(request.requestHash);
  const { rows } = await pool.query<OpenedRow>({
    name: "run-begin",
    text: openNextSql,
    values: [
      ...begin,
      state || null,
      concurrency || "enqueue",
      background,
      key || null,
      hash,
      request.oldestGraphVersion,
      familyId || null,
      parts === null ? null : JSON.stringify(parts),
    ],
  });
  if (rows[0] === undefined) throw new Error("a begin of a run always returns one row");
  return rows[0];
}
