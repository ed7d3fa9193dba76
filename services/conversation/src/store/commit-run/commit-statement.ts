import { type RowColumns, rowsSource } from "../group-commit.ts";

/** The part of the statement that inserts approvals. Commits that park no run are spared its cost. */
const parkedSql = `, parked as (
  insert into approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, tool_version, arguments)
  select a.id, i.conversation_id, i.run_id, i.user_id, i.epoch, a.n, a.call_id, a.tool_name, a.tool_version, a.arguments
  from moved i, json_to_recordset(i.approvals)
    as a(n integer, id uuid, call_id text, tool_name text, tool_version text, arguments text)
)`;

/** Columns of the row that a commit passes to its statement, with their SQL types. */
export const commitColumns: RowColumns = {
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
  finish_reason: "text",
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

/** The limit of a run's counters: a sum beyond its column would make every further commit fail. */
const maxInteger = 2_147_483_647;

/**
 * The fence: the run must be running, the user's, and at the worker's epoch and log position. It is written so that
 * only the index of run ids fits; a plan made while few runs exist would otherwise read all running ones.
 */
const fence =
  "case r.status when 'running' then r.user_id end = i.user_id and r.epoch = i.epoch and r.seq = coalesce(i.seq, r.seq)";

/**
 * The part of a group whose runs and conversations no other transaction holds. It waits for no lock, so groups can
 * neither deadlock nor be held up by one member. A conversation has one running run, so none appears twice.
 */
const heldSql = `held as (
  select i.*
  from ${rowsSource(commitColumns, "many")} join runs r on r.run_id = any (array[i.run_id])
    join conversations c on c.id = any (array[r.conversation_id])
  where ${fence}
  for no key update of r, c skip locked
), `;

/**
 * Steps outside of `fenced` are not written. A single row waits for its run's lock; `moved` then waits for that of the
 * conversation, whose new count numbers the messages. The lists in a row are expanded on their own and joined to that
 * row, never to a table, so a wrong estimate of their length cannot lead to a scan; see `rowsSource` for how tables are
 * joined. Exported for the test of its plan.
 */
export const commitSql = (rows: "many" | "one", parks: boolean): string => `
with ${rows === "many" ? heldSql : ""}fenced as (
  update runs r
  set status = i.status, node = i.node, state = coalesce(i.state::json, r.state), seq = r.seq + i.event_count, attempt = 0,
    updated_at = now(),
    prompt_tokens = least(r.prompt_tokens::bigint + i.prompt_tokens, ${maxInteger}),
    completion_tokens = least(r.completion_tokens::bigint + i.completion_tokens, ${maxInteger}),
    total_tokens = least(r.total_tokens::bigint + i.total_tokens, ${maxInteger}), cost = r.cost + i.cost,
      tool_call_count = r.tool_call_count + i.tool_calls,
    error = i.error, finish_reason = i.finish_reason, graph_version = coalesce(nullif(i.graph_version, 0), r.graph_version),
    model = case when i.model = '' then r.model else i.model end,
    agent = case when i.agent = '' then r.agent else i.agent end,
    deadline_at = case when i.status = 'running' then r.deadline_at end,
    owner = case when i.status = 'queued' then '' else r.owner end,
    wake_at = case when i.status = 'queued' then now() + i.wake_in_ms * interval '1 millisecond' end
  from ${rows === "one" ? rowsSource(commitColumns, rows) : "held i"}
  where r.run_id = any (array[i.run_id])${rows === "one" ? ` and ${fence}` : ""}
  returning r.conversation_id, r.seq as last_seq, i.*
), moved as (
  update conversations c
  set message_count = c.message_count + i.message_count, tool_call_count = c.tool_call_count + i.tool_calls,
    total_tokens = c.total_tokens + i.total_tokens, total_cost = c.total_cost + i.cost, status = i.standing,
      current_node = i.node,
    active_run_id = case when i.status in ('queued', 'running', 'waiting', 'needs_review') then c.active_run_id end,
    model = case when i.model = '' then c.model else i.model end, updated_at = now(),
    finish_reason = case when i.status = 'completed' then i.finish_reason else c.finish_reason end,
    last_message_at = case when i.message_count > 0 then now() else c.last_message_at end
  from fenced i
  where c.id = any (array[i.conversation_id])
  returning c.message_count - i.message_count as before, i.*
), stored as (
  insert into messages (conversation_id, id, run_id, sequence_number, role, content, name, tool_calls, tool_call_id, model,
    prompt_tokens, completion_tokens, latency_ms, finish_reason, reasoning, provider_fields, created_at)
  select i.conversation_id, m.id, i.run_id, i.before + m.n, m.role, m.content, m.name, m.tool_calls, m.tool_call_id, m.model,
    m.prompt_tokens, m.completion_tokens, m.latency_ms, m.finish_reason, m.reasoning, m.provider_fields,
    now() - m.age_ms * interval '1 millisecond'
  from moved i, json_to_recordset(i.messages)
    as m(n integer, id uuid, role text, content text, name text, tool_calls json, tool_call_id text, model text,
      prompt_tokens integer, completion_tokens integer, latency_ms integer, finish_reason text, reasoning text,
      provider_fields text, age_ms integer)
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
/** Statements for a group of commits. */
export const groupStatements = { plain: statement("many", false), parking: statement("many", true) };
/** Statements for a single commit, with a parameter for each column. */
export const singleStatements = { plain: statement("one", false), parking: statement("one", true) };
