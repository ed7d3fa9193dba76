import { create } from "@bufbuild/protobuf";
import { type LoggedEvent, LoggedEventSchema, type RunInfo, RunInfoSchema } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { fitting, sizedRows, textsOf } from "./response-size.ts";
import { type MessageRow, messageColumns, toMessage, toTimestamp } from "./rows.ts";

/** A run as its user sees it, and its conversation's title. */
export interface InfoRow {
  readonly run_id: string;
  readonly conversation_id: string;
  readonly token_id: string | null;
  readonly status: string;
  readonly agent: string;
  readonly model: string;
  readonly input: string | null;
  readonly response: string | null;
  readonly error: string;
  readonly finish_reason: string;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly cost: number;
  readonly tool_call_count: number;
  readonly attempt: number;
  readonly seq: number;
  readonly unsettled: { calls?: { id: string; name: string; arguments: string }[] } | null;
  readonly failure: { reason?: string; error?: string } | null;
  readonly receipts: { call_id: string; tool_name: string; outcome: string }[] | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly title: string;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
  readonly priced: boolean;
  readonly deadline_at: Date | null;
  readonly wake_at: Date | null;
}

/**
 * The agent of a run `r` of a conversation `c`. Before the first step of the run it is the one that its message or its
 * conversation names, else the router's.
 */
export const agentOfRun =
  "coalesce(nullif(r.agent, ''), nullif(r.state ->> 'agent', ''), nullif(c.agent_type, ''), r.state ->> 'routed', '')";

/** Whether a worker has ever taken a run `r`: each claim raises the epoch, and a cancellation once more. */
const wasTaken = "r.epoch > case r.status when 'cancelled' then 1 else 0 end";

/**
 * The columns of an `InfoRow` that are no user's, model's or tool's words, of a run `r` and its conversation `c`.
 * Before the first step of a run, `model` is the one that its message names. A run that began at once has no entry for
 * its start. The last entry of an ended run is its end. `failure` is the newest entry of a run that has failed or waits
 * for its next attempt. A release that did not write `priced` into the state leaves only the cost to judge by.
 */
export const factColumns = `r.run_id, r.conversation_id, r.token_id, r.status,
  coalesce(nullif(r.model, ''), r.state ->> 'model', '') as model, ${agentOfRun} as agent,
  r.finish_reason, r.prompt_tokens, r.completion_tokens, r.total_tokens, r.cost, r.tool_call_count, r.attempt, r.seq,
  r.created_at, r.updated_at, r.deadline_at, r.wake_at,
  case when ${wasTaken} then coalesce(
    (select e.created_at from run_events e where e.run_id = r.run_id and e.seq = 1 and e.type = 'started'), r.created_at
  ) end as started_at,
  case when r.status in ('completed', 'failed', 'cancelled') then coalesce(
    (select e.created_at from run_events e where e.run_id = r.run_id and e.seq = r.seq), r.updated_at
  ) end as ended_at,
  case r.state ->> 'priced' when 'true' then true when 'false' then false else r.cost > 0 or r.total_tokens = 0 end as priced,
  case when r.status = 'failed' or r.status = 'queued' and r.wake_at is not null then (
    select e.payload from run_events e where e.run_id = r.run_id and e.seq = r.seq and e.type in ('failed', 'retrying')
  ) end as failure`;

/** All columns of an `InfoRow`. `response` is the last message that the run's end reports. */
export const infoColumns = `${factColumns}, c.title, r.input, r.error, r.receipts,
  case when r.status = 'completed' then (
    select m.content
    from run_events e join messages m
      on m.conversation_id = r.conversation_id and m.sequence_number = e.first_message + e.messages - 1
    where e.run_id = r.run_id and e.seq = r.seq
  ) end as response,
  case when r.status = 'needs_review' then (
    select e.payload from run_events e where e.run_id = r.run_id and e.type = 'needs_review' order by e.seq desc limit 1
  ) end as unsettled`;

const optionalTime = (time: Date | null) => (time === null ? undefined : toTimestamp(time));

/** A run without the name of its key, which auth knows. */
export function toRunInfo(row: InfoRow): RunInfo {
  return create(RunInfoSchema, {
    id: row.run_id,
    conversationId: row.conversation_id,
    tokenId: row.token_id ?? "",
    status: row.status,
    agent: row.agent,
    agentType: row.agent,
    model: row.model,
    message: row.input ?? "",
    response: row.response ?? "",
    error: row.error,
    lastError: row.status === "queued" ? (row.failure?.error ?? "") : "",
    errorReason: (row.failure?.reason ?? "").replace(/^ERROR_REASON_/, ""),
    finishReason: row.finish_reason,
    usage: { promptTokens: row.prompt_tokens, completionTokens: row.completion_tokens, totalTokens: row.total_tokens },
    cost: row.cost,
    costUsd: row.cost,
    toolCalls: row.tool_call_count,
    attempt: row.attempt,
    lastEventId: String(row.seq),
    unsettledCalls: (row.unsettled?.calls ?? []).map(({ id, name, arguments: args }) => ({
      id,
      type: "function",
      function: { name, arguments: args },
    })),
    receipts: (row.receipts ?? []).map((receipt) => ({
      callId: receipt.call_id,
      toolName: receipt.tool_name,
      outcome: receipt.outcome,
    })),
    createdAt: toTimestamp(row.created_at),
    updatedAt: toTimestamp(row.updated_at),
    deadlineAt: optionalTime(row.deadline_at),
    wakeAt: optionalTime(row.wake_at),
    title: row.title,
    startedAt: optionalTime(row.started_at),
    endedAt: optionalTime(row.ended_at),
    priced: row.priced,
  });
}

const getSql = `
select ${infoColumns}
from runs r join conversations c on c.id = r.conversation_id
where r.run_id = $1 and r.user_id = $2 and c.deleted_at is null`;

/** One of a user's runs. Throws NOT_FOUND. */
export async function getRun(db: Queryable, asked: { userId: string; runId: string }): Promise<RunInfo> {
  const { rows } = await db.query<InfoRow>({ name: "run-get", text: getSql, values: [asked.runId, asked.userId] });
  if (rows[0] === undefined) throw fail(ErrorReason.NOT_FOUND, "There is no such run.", { param: "run_id" });
  return toRunInfo(rows[0]);
}

interface LogRow {
  readonly seq: number;
  readonly type: string;
  readonly payload: string | null;
  readonly told: MessageRow[] | null;
  readonly created_at: Date;
}

const toldBy = "conversation_id = $2 and sequence_number >= e.first_message and sequence_number < e.first_message + e.messages";
const logSql = `
select e.seq, e.type, e.payload, e.created_at, case when e.messages > 0 then (
    select json_agg(m order by m.sequence_number) from (select ${messageColumns} from messages where ${toldBy}) m
  ) end as told
from (${sizedRows(
  `select e.seq, e.type, e.payload::text as payload, e.created_at, e.first_message, e.messages, case when e.messages > 0 then (
      select sum(octet_length(content) + octet_length(reasoning)) from messages where ${toldBy}
    ) end as told_bytes
  from run_events e
  where e.run_id = $1 and e.seq > $3 and e.seq <= $4
  order by e.seq
  limit $5`,
  "seq",
  "coalesce(told_bytes, 0) + coalesce(octet_length(payload), 0)",
)}) e
order by e.seq`;

/**
 * The log of a user's run after a position: every entry up to the run's `lastEventId`, and none beyond, so a reader of
 * the last entry knows that `run` is as of that entry. Fewer entries than asked for when they are large. Throws
 * NOT_FOUND.
 */
export async function readRunLog(
  db: Queryable,
  asked: { userId: string; runId: string; after: number; limit: number },
): Promise<{ run: RunInfo; events: LoggedEvent[] }> {
  const run = await getRun(db, asked);
  if (Number(run.lastEventId) <= asked.after) return { run, events: [] };
  const { rows } = await db.query<LogRow>({
    name: "run-log",
    text: logSql,
    values: [asked.runId, run.conversationId, asked.after, Number(run.lastEventId), asked.limit],
  });
  const events = rows.map(({ seq, type, payload, told, created_at: at }) =>
    create(LoggedEventSchema, {
      seq,
      type,
      payload: payload ?? "",
      messages: (told ?? []).map((message) => toMessage(run.conversationId, message)),
      createdAt: toTimestamp(at),
    }),
  );
  return { run, events: fitting(events, ({ payload, messages }) => [payload, ...messages.flatMap(textsOf)]) };
}
