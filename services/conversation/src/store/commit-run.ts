import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import {
  createGroupWriter,
  type GroupItem,
  type GroupLimits,
  groupLimits,
  type RowColumns,
  rowsSource,
  rowValues,
} from "./group-commit.ts";
import { messageRows, runStatusName, storable, toStorable, toTimestamp } from "./rows.ts";

/** The last part of the statement when a run parks: the calls that wait. Commits without any are spared its cost. */
const parkedSql = `, parked as (
  insert into approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, tool_version, arguments)
  select a.id, i.conversation_id, i.run_id, i.user_id, i.epoch, a.n, a.call_id, a.tool_name, a.tool_version, a.arguments
  from moved i, json_to_recordset(i.approvals)
    as a(n integer, id uuid, call_id text, tool_name text, tool_version text, arguments text)
)`;

const columns: RowColumns = {
  run_id: "uuid",
  user_id: "uuid",
  epoch: "integer",
  seq: "integer",
  status: "text",
  node: "text",
  state: "text",
  prompt_tokens: "integer",
  completion_tokens: "integer",
  total_tokens: "integer",
  cost: "double precision",
  tool_calls: "integer",
  error: "text",
  model: "text",
  agent: "text",
  standing: "text",
  message_count: "integer",
  messages: "json",
  event_count: "integer",
  events: "json",
  wake_in_ms: "integer",
  graph_version: "integer",
  approvals: "json",
};

/** Where the counts of a run stop: a sum that no longer fits its column would be refused at every commit. */
const maxInteger = 2_147_483_647;

/**
 * What a commit must find. Said so that no index but that of the runs' ids fits: a plan made while few run would read
 * all that run.
 */
const fence =
  "case r.status when 'running' then r.user_id end = i.user_id and r.epoch = i.epoch and r.seq = coalesce(i.seq, r.seq)";

/**
 * What it has of many: the runs and conversations that nobody else holds. It waits for none, so groups cannot lock each
 * other out, nor stand still for one of theirs. A conversation has one run that is running, so none is there twice.
 */
const heldSql = `held as (
  select i.*
  from ${rowsSource(columns, "many")} join runs r on r.run_id = any (array[i.run_id])
    join conversations c on c.id = any (array[r.conversation_id])
  where ${fence}
  for no key update of r, c skip locked
), `;

/**
 * `fenced` is the fence: what is not in it is not written. A single row waits for its run's lock, then `moved` for that
 * of the conversation, whose new count numbers the messages. The lists of a row are read on their own and joined to
 * that row, never to a table, so no estimate of their length can lead to a scan; see `rowsSource` for how tables are
 * joined. Exported for the test of its plan.
 */
export const commitSql = (rows: "many" | "one", parks: boolean): string => `
with ${rows === "many" ? heldSql : ""}fenced as (
  update runs r
  set status = i.status, node = i.node, state = coalesce(i.state::json, r.state), seq = r.seq + i.event_count, attempt = 0,
    updated_at = now(),
    prompt_tokens = least(r.prompt_tokens::bigint + i.prompt_tokens, ${maxInteger}),
    completion_tokens = least(r.completion_tokens::bigint + i.completion_tokens, ${maxInteger}),
    total_tokens = least(r.total_tokens::bigint + i.total_tokens, ${maxInteger}), cost = r.cost + i.cost, tool_call_count = r.tool_call_count + i.tool_calls,
    error = i.error, graph_version = coalesce(nullif(i.graph_version, 0), r.graph_version),
    model = case when i.model = '' then r.model else i.model end,
    agent = case when i.agent = '' then r.agent else i.agent end,
    deadline_at = case when i.status = 'running' then r.deadline_at end,
    owner = case when i.status = 'queued' then '' else r.owner end,
    wake_at = case when i.status = 'queued' then now() + i.wake_in_ms * interval '1 millisecond' end
  from ${rows === "one" ? rowsSource(columns, rows) : "held i"}
  where r.run_id = any (array[i.run_id])${rows === "one" ? ` and ${fence}` : ""}
  returning r.conversation_id, r.seq as last_seq, i.*
), moved as (
  update conversations c
  set message_count = c.message_count + i.message_count, tool_call_count = c.tool_call_count + i.tool_calls,
    total_tokens = c.total_tokens + i.total_tokens, total_cost = c.total_cost + i.cost, status = i.standing, current_node = i.node,
    active_run_id = case when i.status in ('queued', 'running', 'waiting', 'needs_review') then c.active_run_id end,
    model = case when i.model = '' then c.model else i.model end, updated_at = now(),
    last_message_at = case when i.message_count > 0 then now() else c.last_message_at end
  from fenced i
  where c.id = any (array[i.conversation_id])
  returning c.message_count - i.message_count as before, i.*
), stored as (
  insert into messages (conversation_id, id, sequence_number, role, content, name, tool_calls, tool_call_id, model,
    prompt_tokens, completion_tokens, latency_ms)
  select i.conversation_id, m.id, i.before + m.n, m.role, m.content, m.name, m.tool_calls, m.tool_call_id, m.model,
    m.prompt_tokens, m.completion_tokens, m.latency_ms
  from moved i, json_to_recordset(i.messages)
    as m(n integer, id uuid, role text, content text, name text, tool_calls json, tool_call_id text, model text,
      prompt_tokens integer, completion_tokens integer, latency_ms integer)
), logged as (
  insert into run_events (run_id, seq, type, payload, first_message, messages)
  select i.run_id, i.last_seq - i.event_count + e.n, e.type, e.payload::json,
    case when e.messages > 0 then i.before + e.first end, e.messages
  from moved i, json_to_recordset(i.events) as e(n integer, type text, payload text, first integer, messages integer)
)${parks ? parkedSql : ""}
select i.run_id, i.conversation_id, i.before, i.last_seq as seq, now() as at,
  case when i.status in ('completed', 'failed', 'cancelled') then (
    select q.run_id from runs q
    where q.conversation_id = i.conversation_id and q.status = 'queued'
    order by q.priority desc, q.created_at, q.run_id limit 1
  ) end as next_run_id
from moved i`;

const statement = (rows: "many" | "one", parks: boolean) => ({
  name: `run-commit-${rows}${parks ? "-park" : ""}`,
  text: commitSql(rows, parks),
});
const groupStatements = { plain: statement("many", false), parking: statement("many", true) };
const singleStatements = { plain: statement("one", false), parking: statement("one", true) };

interface CommittedRow {
  readonly run_id: string;
  readonly conversation_id: string;
  /** Messages in the conversation before this step. */
  readonly before: number;
  readonly seq: number;
  readonly next_run_id: string | null;
  readonly at: Date;
}

/** A commit's row, and whether it has calls that wait. */
interface CommitItem extends GroupItem {
  readonly parks: boolean;
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

/** Commits a step of one of the user's runs. */
export type CommitRun = (userId: string, request: CommitRunRequest) => Promise<Committed>;

/**
 * Commits steps of runs, each all or nothing, together with others that come at the same time. Throws STALE_EPOCH when
 * the run has another epoch or is not running, NOT_FOUND when the user has no such run.
 */
export function createCommitRun(pool: pg.Pool, limits: GroupLimits = groupLimits): CommitRun {
  const write = createGroupWriter<CommitItem, CommittedRow | undefined>(
    pool,
    {
      together: (items) => (items.some(({ parks }) => parks) ? groupStatements.parking : groupStatements.plain),
      alone: (item) => commitAlone(pool, item),
    },
    limits,
  );
  return async (userId, request) => {
    const stored = request.messages.map((message) => ({ ...toStorable(message), id: message.id || uuidv7() }));
    const committed = await write(itemOf(userId, request, stored));
    if (committed === undefined) return await repeated(pool, userId, request, stored);
    const { conversation_id: conversationId, before, at } = committed;
    return {
      messages: numbered(stored, { conversationId, before, createdAt: toTimestamp(at) }),
      seq: committed.seq,
      nextRunId: committed.next_run_id ?? "",
    };
  };
}

async function commitAlone(pool: pg.Pool, { row, parks }: CommitItem): Promise<CommittedRow | undefined> {
  const query = { ...(parks ? singleStatements.parking : singleStatements.plain), values: rowValues(columns, row) };
  const { rows } = await pool.query<CommittedRow>(query).catch(rethrow);
  return rows[0];
}

function itemOf(userId: string, request: CommitRunRequest, stored: readonly Message[]): CommitItem {
  const { events, approvals, usage } = request;
  const runId = request.runId.toLowerCase();
  const promptTokens = usage?.promptTokens ?? 0;
  const completionTokens = usage?.completionTokens ?? 0;
  const parks = request.status === RunStatus.WAITING;
  const row = {
    run_id: runId,
    user_id: userId,
    epoch: request.epoch,
    seq: request.seq,
    status: runStatusName(request.status),
    node: storable(request.node),
    state: request.state.toWellFormed() || null,
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: usage?.totalTokens || promptTokens + completionTokens,
    // JSON has no word for NaN.
    cost: String(request.cost),
    tool_calls: request.toolCalls,
    error: storable(request.error),
    model: storable(request.model),
    agent: storable(request.agent),
    standing: parks ? "pending_approval" : "active",
    message_count: stored.length,
    messages: messageRows(stored),
    event_count: events.length,
    events: eventRows(events),
    wake_in_ms: request.wakeInMs,
    graph_version: request.graphVersion,
    approvals: approvalRows(approvals),
  };
  const texts = [request.state, ...stored.map(({ content }) => content), ...events.map(({ payload }) => payload)];
  return { runId, row, size: texts.reduce((size, text) => size + text.length, 0), keys: [], parks };
}

function numbered(
  messages: readonly Message[],
  { conversationId, before, createdAt }: { conversationId: string; before: number; createdAt: Timestamp },
): Message[] {
  return messages.map((message, index) => ({ ...message, conversationId, sequenceNumber: before + index + 1, createdAt }));
}

const knownSql = "select from runs where run_id = $1 and user_id = $2";

const repeatedSql = `
select r.conversation_id, coalesce(min(e.first_message) - 1, 0) as before, min(e.created_at) as at
from runs r join run_events e on e.run_id = r.run_id
where r.run_id = $1 and r.user_id = $2 and r.epoch = $3 and r.status = $4 and r.seq = $5::integer + $6::integer and e.seq > $5::integer
group by r.conversation_id, r.run_id
having json_agg(e.type order by e.seq)::jsonb = $7::jsonb and sum(e.messages) = $8`;

/**
 * The answer to a step that is not for the run as it stands: the first one, when it is committed already and its answer
 * was lost.
 */
async function repeated(
  pool: pg.Pool,
  userId: string,
  request: CommitRunRequest,
  stored: readonly Message[],
): Promise<Committed> {
  const committed = await lostAnswer(pool, userId, request, stored);
  if (committed !== undefined) return committed;
  const { rowCount } = await pool.query({ name: "run-known", text: knownSql, values: [request.runId, userId] });
  if (rowCount === 0) throw fail(ErrorReason.NOT_FOUND, "There is no such run.", { param: "run_id" });
  throw fail(ErrorReason.STALE_EPOCH, "This run has ended, is parked, or belongs to a newer owner.", { param: "epoch" });
}

async function lostAnswer(
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
function eventRows(events: CommitRunRequest["events"]) {
  let told = 0;
  return events.map(({ type, payload, messages }, index) => {
    const first = told + 1;
    told += messages;
    return { n: index + 1, type: storable(type), payload: payload || null, first, messages };
  });
}

function approvalRows(approvals: CommitRunRequest["approvals"]) {
  return approvals.map((approval, index) => ({
    n: index + 1,
    id: approval.id || uuidv7(),
    call_id: storable(approval.callId),
    tool_name: storable(approval.toolName),
    tool_version: storable(approval.toolVersion),
    arguments: storable(approval.arguments),
  }));
}

function rethrow(error: unknown): never {
  // invalid_text_representation and untranslatable_character: ids are checked before, so it is a JSON text that is
  // none.
  if (error instanceof Error && "code" in error && (error.code === "22P02" || error.code === "22P05")) {
    throw fail(ErrorReason.INVALID_REQUEST, "state or an event's payload is not JSON", { cause: error });
  }
  throw error;
}
