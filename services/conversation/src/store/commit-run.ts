import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import { messagesParameter, runStatusName, storable, toStorable, toTimestamp } from "./rows.ts";

/** The last part of the statement when the run parks: the calls that wait. A commit without any is spared its cost. */
const parkedSql = `, parked as (
  insert into approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, tool_version, arguments)
  select a.id, fenced.conversation_id, fenced.run_id, $2, $3, a.n, a.call_id, a.tool_name, a.tool_version, a.arguments
  from fenced, json_to_recordset($23::json)
    as a(n integer, id uuid, call_id text, tool_name text, tool_version text, arguments text)
)`;

/**
 * `fenced` is the fence: without a row from it nothing else has anything to write. It locks the run, then `moved` locks the
 * conversation, whose new count numbers the messages. The JSON lists are read on their own and joined to one row, never to a table, so
 * no estimate of their length can lead to a scan.
 */
const commitSql = (parked: string) => `
with fenced as (
  update runs
  set status = $4, node = $5, state = coalesce($6::json, state), seq = seq + $18::integer, updated_at = now(),
    graph_version = coalesce(nullif($22::integer, 0), graph_version),
    prompt_tokens = prompt_tokens + $7, completion_tokens = completion_tokens + $8, total_tokens = total_tokens + $9,
    cost = cost + $10, tool_call_count = tool_call_count + $11, error = $12,
    model = case when $13 = '' then model else $13 end, agent = case when $14 = '' then agent else $14 end,
    deadline_at = case when $4 = 'running' then deadline_at end, owner = case when $4 = 'queued' then '' else owner end,
    wake_at = case when $4 = 'queued' then now() + $20::integer * interval '1 millisecond' end
  where run_id = $1 and user_id = $2 and epoch = $3 and status = 'running' and seq = coalesce($21::integer, seq)
  returning run_id, conversation_id, seq
), moved as (
  update conversations c
  set message_count = c.message_count + $16::integer, tool_call_count = c.tool_call_count + $11,
    total_tokens = c.total_tokens + $9, total_cost = c.total_cost + $10, status = $15, current_node = $5,
    active_run_id = case when $4 in ('queued', 'running', 'waiting', 'needs_review') then c.active_run_id end,
    model = case when $13 = '' then c.model else $13 end, updated_at = now(),
    last_message_at = case when $16::integer > 0 then now() else c.last_message_at end
  from fenced
  where c.id = fenced.conversation_id
  returning c.id, c.message_count - $16::integer as before, fenced.seq
), stored as (
  insert into messages (conversation_id, id, sequence_number, role, content, name, tool_calls, tool_call_id, model,
    prompt_tokens, completion_tokens, latency_ms)
  select moved.id, m.id, moved.before + m.n, m.role, m.content, m.name, m.tool_calls, m.tool_call_id, m.model,
    m.prompt_tokens, m.completion_tokens, m.latency_ms
  from moved, json_to_recordset($17::json)
    as m(n integer, id uuid, role text, content text, name text, tool_calls json, tool_call_id text, model text,
      prompt_tokens integer, completion_tokens integer, latency_ms integer)
), logged as (
  insert into run_events (run_id, seq, type, payload, first_message, messages)
  select fenced.run_id, fenced.seq - $18::integer + e.n, e.type, e.payload::json,
    case when e.messages > 0 then moved.before + e.first end, e.messages
  from fenced, moved, json_to_recordset($19::json) as e(n integer, type text, payload text, first integer, messages integer)
)${parked}
select moved.id as conversation_id, moved.before, moved.seq, now() as at,
  case when $4 in ('completed', 'failed', 'cancelled') then (
    select q.run_id from runs q
    where q.conversation_id = moved.id and q.status = 'queued'
    order by q.priority desc, q.created_at, q.run_id limit 1
  ) end as next_run_id,
  case when moved.id is null then exists (select from runs where run_id = $1 and user_id = $2) else true end as known
from (select) as always left join moved on true`;

const plainCommit = { name: "run-commit", text: commitSql("") };
const parkingCommit = { name: "run-commit-park", text: commitSql(parkedSql) };

interface CommittedRow {
  readonly conversation_id: string | null;
  /** Messages in the conversation before this step. */
  readonly before: number;
  readonly seq: number;
  readonly next_run_id: string | null;
  readonly at: Date;
  /** The caller has such a run. */
  readonly known: boolean;
}

/** A committed step. */
export interface Committed {
  /** With their numbers and times. */
  readonly messages: Message[];
  /** Number of the newest entry of the log. */
  readonly seq: number;
  /** The queued run whose turn it is now that this one has ended; empty: none. */
  readonly nextRunId: string;
}

/**
 * Commits a step of a run in one statement, all or nothing. Throws STALE_EPOCH when
 * the run has another epoch or is not running, NOT_FOUND when the user has no such run.
 */
export async function commitRun(pool: pg.Pool, userId: string, request: CommitRunRequest): Promise<Committed> {
  const { messages, events, approvals, usage } = request;
  const promptTokens = usage?.promptTokens ?? 0;
  const completionTokens = usage?.completionTokens ?? 0;
  const parks = request.status === RunStatus.WAITING;
  const stored = messages.map((message) => ({ ...toStorable(message), id: message.id || uuidv7() }));
  const values = [
    request.runId,
    userId,
    request.epoch,
    runStatusName(request.status),
    storable(request.node),
    request.state || null,
    promptTokens,
    completionTokens,
    usage?.totalTokens || promptTokens + completionTokens,
    request.cost,
    request.toolCalls,
    storable(request.error),
    storable(request.model),
    storable(request.agent),
    parks ? "pending_approval" : "active",
    messages.length,
    messagesParameter(stored),
    events.length,
    eventsParameter(events),
    request.wakeInMs,
    request.seq ?? null,
    request.graphVersion,
  ];
  if (parks) values.push(approvalsParameter(approvals));
  const { rows } = await pool.query<CommittedRow>({ ...(parks ? parkingCommit : plainCommit), values }).catch(rethrow);
  const row = rows[0];
  if (row === undefined || !row.known) throw fail(ErrorReason.NOT_FOUND, "There is no such run.", { param: "run_id" });
  const conversationId = row.conversation_id;
  if (conversationId === null) {
    const committed = await repeated(pool, userId, request, stored);
    if (committed !== undefined) return committed;
    throw fail(ErrorReason.STALE_EPOCH, "This run has ended, is parked, or belongs to a newer owner.", { param: "epoch" });
  }
  return {
    messages: numbered(stored, { conversationId, before: row.before, createdAt: toTimestamp(row.at) }),
    seq: row.seq,
    nextRunId: row.next_run_id ?? "",
  };
}

function numbered(
  messages: readonly Message[],
  { conversationId, before, createdAt }: { conversationId: string; before: number; createdAt: Timestamp },
): Message[] {
  return messages.map((message, index) => ({ ...message, conversationId, sequenceNumber: before + index + 1, createdAt }));
}

const repeatedSql = `
select r.conversation_id, coalesce(min(e.first_message) - 1, 0) as before, min(e.created_at) as at
from runs r join run_events e on e.run_id = r.run_id
where r.run_id = $1 and r.user_id = $2 and r.epoch = $3 and r.status = $4 and r.seq = $5::integer + $6::integer and e.seq > $5::integer
group by r.conversation_id, r.run_id
having json_agg(e.type order by e.seq)::jsonb = $7::jsonb and sum(e.messages) = $8`;

/** The answer to a step that is committed already: its first answer was lost. */
async function repeated(
  pool: pg.Pool,
  userId: string,
  { runId, epoch, status, seq, events }: CommitRunRequest,
  stored: readonly Message[],
): Promise<Committed | undefined> {
  if (seq === undefined || events.length === 0) return undefined;
  const types = JSON.stringify(events.map(({ type }) => type));
  const { rows } = await pool.query<{ conversation_id: string; before: number; at: Date }>({
    name: "run-commit-repeated",
    text: repeatedSql,
    values: [runId, userId, epoch, runStatusName(status), seq, events.length, types, stored.length],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  const { conversation_id: conversationId, before, at } = row;
  const messages = numbered(stored, { conversationId, before, createdAt: toTimestamp(at) });
  return { messages, seq: seq + events.length, nextRunId: "" };
}

/** The entries, each with its place among the commit's messages. */
function eventsParameter(events: CommitRunRequest["events"]): string {
  let told = 0;
  return JSON.stringify(
    events.map(({ type, payload, messages }, index) => {
      const first = told + 1;
      told += messages;
      return { n: index + 1, type: storable(type), payload: payload || null, first, messages };
    }),
  );
}

function approvalsParameter(approvals: CommitRunRequest["approvals"]): string {
  return JSON.stringify(
    approvals.map((approval, index) => ({
      n: index + 1,
      id: approval.id || uuidv7(),
      call_id: storable(approval.callId),
      tool_name: storable(approval.toolName),
      tool_version: storable(approval.toolVersion),
      arguments: storable(approval.arguments),
    })),
  );
}

function rethrow(error: unknown): never {
  // invalid_text_representation and untranslatable_character: ids are checked before, so it is a JSON text that is none.
  if (error instanceof Error && "code" in error && (error.code === "22P02" || error.code === "22P05")) {
    throw fail(ErrorReason.INVALID_REQUEST, "state or an event's payload is not JSON", { cause: error });
  }
  throw error;
}
