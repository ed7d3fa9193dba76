import { create } from "@bufbuild/protobuf";
import { type Conversation, type Message, MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import type { BeginRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { type Run, type RunContext, RunContextSchema, RunSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { isUniqueViolation } from "@turnwright/platform/postgres";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import { wholeRounds } from "../context.ts";
import { titleOf } from "../title.ts";
import { readMessages } from "./messages.ts";
import {
  type ConversationRow,
  conversationColumns,
  type MessageRow,
  messageColumns,
  type RunRow,
  runColumns,
  toConversation,
  toMessage,
  toRun,
  toTimestamp,
} from "./rows.ts";
import { readRunContext } from "./run-context.ts";

/** A turn to open, and who opens it. */
export interface Opening {
  readonly request: BeginRunRequest;
  readonly userId: string;
  /** UUID of the credential, or empty. */
  readonly tokenId: string;
  /** The service that drives the run. */
  readonly owner: string;
}

const defaultContextLimit = 100;
const defaultDeadlineSeconds = 600;

const createSql = `
with opened as (
  insert into conversations (id, user_id, title, agent_type, message_count, active_run_id)
  values ($1, $2, $3, $4, 1, $7)
  returning ${conversationColumns}
), counted as (
  insert into user_totals (user_id, conversations) values ($2, 1)
  on conflict (user_id) do update set conversations = user_totals.conversations + 1
), said as (
  insert into messages (conversation_id, id, sequence_number, role, content) values ($1, $5, 1, 'user', $6)
), started as (
  insert into runs (run_id, conversation_id, user_id, token_id, status, epoch, owner, graph_version, deadline_seconds, deadline_at,
    state, idempotency_key, request_hash)
  values ($7, $1, $2, $8, case when $13::boolean then 'queued' else 'running' end, ($13::boolean is false)::integer,
    case when $13::boolean then '' else $9 end, $10, $11::integer,
    case when $13::boolean then null else now() + $11::integer * interval '1 second' end, $12::json, $14, $15)
)
select row_to_json(opened) as conversation, null as live, null as live_run_id, $13::boolean as queued, true as known,
  null as messages, now() as at
from opened`;

/**
 * Locks in the order of every statement here: the live run, then the conversation. `superseded` runs before `opened`, which reads it,
 * and `started` after both. What this statement sees of runs and messages is as old as its start; after a wait for the conversation
 * only that row is current. So its own `active_run_id` decides whether the way is free, and messages may be missing (see `earlier`).
 * An overdue run of a version that the caller does not drive is left to who does. Where the way is not free, the run is queued; its message is stored with it until its turn comes.
 * Exported for the test of its plan.
 */
export const continueSql = `
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
  select run_id, seq, 'failed', '{"reason":"deadline"}'::json from superseded
), opened as (
  update conversations
  set message_count = message_count + 1, active_run_id = $5, updated_at = now(), last_message_at = now()
  where id = $1 and user_id = $2 and deleted_at is null and not $13::boolean
    and not exists (select from live where run_id not in (select run_id from superseded))
    and not exists (select from ahead)
    and active_run_id is not distinct from (select run_id from superseded)
  returning ${conversationColumns}
), said as (
  insert into messages (conversation_id, id, sequence_number, role, content)
  select id, $3, message_count, 'user', $4 from opened
), started as (
  insert into runs (run_id, conversation_id, user_id, token_id, status, epoch, owner, graph_version, deadline_seconds, deadline_at,
    state, idempotency_key, request_hash)
  select $5, id, user_id, $6, 'running', 1, $7, $8, $9::integer, now() + $9::integer * interval '1 second', $11::json, $14, $15
  from opened
), queued as (
  insert into runs (run_id, conversation_id, user_id, token_id, status, graph_version, deadline_seconds, state, input, priority,
    idempotency_key, request_hash)
  select $5, c.id, c.user_id, $6, 'queued', $8, $9, $11::json, $4, ($12 = 'interrupt')::integer, $14, $15
  from conversations c
  where c.id = $1 and c.user_id = $2 and c.deleted_at is null and not exists (select from opened)
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
  (
    select json_agg(m order by m.sequence_number)
    from (
      select ${messageColumns} from messages
      where conversation_id = opened.id
        and sequence_number > opened.message_count - $10::integer and sequence_number < opened.message_count
    ) m
  ) as messages
from (select) as always left join opened on true left join live on true`;

interface OpenedRow {
  readonly conversation: ConversationRow | null;
  /** Status of the run that was under way, or overdue, when the statement began. */
  readonly live: string | null;
  readonly live_run_id: string | null;
  /** The run waits for its turn, or for who drives it. */
  readonly queued: boolean;
  /** The user has this conversation. */
  readonly known: boolean;
  readonly messages: MessageRow[] | null;
  readonly at: Date;
}

/** An opened turn: with its context when it is claimed, else as it stands. */
export interface Opened {
  readonly context?: RunContext;
  readonly run?: Run;
  /** UUID of the run that is under way in the conversation; empty: none. */
  readonly liveRunId: string;
  /** The run was there before. */
  readonly replayed: boolean;
  /** A run that had passed its deadline was ended to make room. */
  readonly superseded: boolean;
}

/**
 * Stores the user's message and opens a run in one statement, claimed for the caller unless it must wait or is a background run. The
 * context ends with the user's message and has whole rounds only. Throws NOT_FOUND, CONVERSATION_BUSY, PENDING_APPROVAL,
 * PENDING_REVIEW; CONFLICT when the run exists; IDEMPOTENCY_KEY_REUSED when the key stands for something else.
 */
export async function beginRun(pool: pg.Pool, opening: Opening): Promise<Opened> {
  const { request } = opening;
  const limit = request.contextLimit || defaultContextLimit;
  const messageId = uuidv7();
  const row = await open(pool, opening, messageId, limit);
  const isNew = row !== undefined && (row.conversation !== null || row.queued);
  const earlierRun = isNew ? undefined : await replay(pool, opening);
  if (earlierRun !== undefined) return { ...earlierRun, liveRunId: "", replayed: true, superseded: false };
  if (row === undefined) throw fail(ErrorReason.CONFLICT, "This run exists already.", { param: "run_id" });
  if (row.queued) {
    const run = create(RunSchema, {
      id: request.runId,
      conversationId: row.conversation?.id ?? request.conversationId,
      userId: opening.userId,
      tokenId: opening.tokenId,
      status: RunStatus.QUEUED,
      graphVersion: request.graphVersion,
      deadlineSeconds: request.deadlineSeconds || defaultDeadlineSeconds,
      createdAt: toTimestamp(row.at),
      updatedAt: toTimestamp(row.at),
    });
    const liveRunId = request.concurrency === "interrupt" ? await liveRun(pool, opening, row) : row.live_run_id;
    return { run, liveRunId: liveRunId ?? "", replayed: false, superseded: false };
  }
  if (row.conversation === null) throw refusal(row);
  const conversation = toConversation(row.conversation);
  const said = create(MessageSchema, {
    id: messageId,
    conversationId: conversation.id,
    role: "user",
    content: request.message,
    sequenceNumber: conversation.messageCount,
    createdAt: toTimestamp(row.at),
  });
  const before = await earlier(pool, conversation, row.messages ?? [], limit - 1);
  const context = create(RunContextSchema, {
    run: create(RunSchema, {
      id: request.runId,
      conversationId: conversation.id,
      userId: opening.userId,
      tokenId: opening.tokenId,
      status: RunStatus.RUNNING,
      epoch: 1,
      graphVersion: request.graphVersion,
      deadlineSeconds: request.deadlineSeconds || defaultDeadlineSeconds,
      createdAt: toTimestamp(row.at),
      updatedAt: toTimestamp(row.at),
    }),
    conversation,
    messages: [...wholeRounds(before, limit - 1), said],
  });
  return { context, liveRunId: "", replayed: false, superseded: row.live !== null };
}

const liveSql = `
select r.run_id from conversations c join runs r on r.run_id = c.active_run_id
where c.id = $1 and r.run_id <> $2
  and (r.run_id = $3 or (r.created_at, r.run_id) < (select created_at, run_id from runs where run_id = $2)
    or not exists (select from run_events e where e.run_id = r.run_id and e.type = 'started'))`;

/**
 * The run that one which interrupts has to end, as it is now that this one is queued: when its statement began, another one may have been under way, or
 * none yet. Never one that was queued behind it; what began at once, without the queue, did so before it.
 */
async function liveRun(pool: pg.Pool, { request }: Opening, row: OpenedRow): Promise<string | null> {
  const values = [request.conversationId, request.runId, row.live_run_id];
  const { rows } = await pool.query<{ run_id: string }>({ name: "run-live", text: liveSql, values });
  return rows[0]?.run_id ?? null;
}

/** Undefined: the run or its key is there already. */
async function open(pool: pg.Pool, opening: Opening, messageId: string, limit: number): Promise<OpenedRow | undefined> {
  const { request, userId, owner } = opening;
  const tokenId = opening.tokenId || null;
  const deadlineSeconds = request.deadlineSeconds || defaultDeadlineSeconds;
  const { runId, conversationId, message, agentType, graphVersion, background } = request;
  const begin = [messageId, message, runId];
  const state = request.state || null;
  const key = request.idempotencyKey === "" ? [null, null] : [request.idempotencyKey, Buffer.from(request.requestHash)];
  const query =
    conversationId === ""
      ? {
          name: "run-begin-new",
          text: createSql,
          values: [
            ...[uuidv7(), userId, titleOf(message), agentType, ...begin, tokenId, owner, graphVersion, deadlineSeconds, state],
            background,
            ...key,
          ],
        }
      : {
          name: "run-begin",
          text: continueSql,
          values: [
            ...[conversationId, userId, ...begin, tokenId, owner, graphVersion, deadlineSeconds, limit, state],
            request.concurrency || "enqueue",
            background,
            ...key,
            request.oldestGraphVersion,
          ],
        };
  try {
    const { rows } = await pool.query<OpenedRow>(query);
    if (rows[0] === undefined) throw new Error("a begin of a run always answers with one row");
    return rows[0];
  } catch (error) {
    if (isUniqueViolation(error, "runs_pkey") || isUniqueViolation(error, "runs_idempotency")) return undefined;
    throw error;
  }
}

const byKeySql = `select ${runColumns}, r.owner, r.request_hash from runs r where r.user_id = $1 and r.idempotency_key = $2`;
const byIdSql = `select ${runColumns}, r.owner, r.request_hash from runs r where r.user_id = $1 and r.run_id = $2 and r.owner in ('', $3)`;

/**
 * The run that is there already: by the user's key, or by an id of the caller's own choosing, whose first answer was lost. A run that the caller
 * owns comes with its context.
 */
async function replay(pool: pg.Pool, { request, userId, owner }: Opening): Promise<Pick<Opened, "run" | "context"> | undefined> {
  const { idempotencyKey: key, runId, workerId } = request;
  if (key === "" && workerId === "") return undefined;
  const query =
    key === ""
      ? { name: "run-replay-id", text: byIdSql, values: [userId, runId, owner] }
      : { name: "run-replay", text: byKeySql, values: [userId, key] };
  const { rows } = await pool.query<RunRow & { readonly owner: string; readonly request_hash: Buffer | null }>(query);
  const row = rows[0];
  if (row === undefined) return undefined;
  if (key !== "" && !row.request_hash?.equals(request.requestHash)) {
    throw fail(ErrorReason.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key: stands for another request already.", {
      param: "Idempotency-Key",
    });
  }
  const isOwn = row.run_id === runId && row.status === "running" && row.owner === workerId;
  return isOwn ? { context: (await readRunContext(pool, row)).context } : { run: toRun(row) };
}

function refusal({ known, live }: OpenedRow) {
  if (!known) return fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
  if (live === "waiting") {
    return fail(ErrorReason.PENDING_APPROVAL, "This conversation waits for an approval; decide it first.");
  }
  if (live === "needs_review") {
    return fail(ErrorReason.PENDING_REVIEW, "A run of this conversation waits for a review; review or cancel it first.");
  }
  return fail(ErrorReason.CONVERSATION_BUSY, "Another message of this conversation is being answered.");
}

/**
 * The messages before the user's. Numbers have no gaps, so a missing last one shows that a run ended between the statement's start
 * and its lock; only then they are read again.
 */
async function earlier(
  pool: pg.Pool,
  conversation: Conversation,
  rows: readonly MessageRow[],
  limit: number,
): Promise<Message[]> {
  const { id: conversationId, messageCount } = conversation;
  const upTo = messageCount - 1;
  if (limit === 0 || (rows.at(-1)?.sequence_number ?? 0) === upTo) return rows.map((row) => toMessage(conversationId, row));
  return readMessages(pool, { conversationId, after: upTo - limit, upTo });
}
