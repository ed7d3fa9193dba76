import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import type { StepApproval, StepCall, StepEntry, StepRun } from "../run-steps/log-facts.ts";

/** The most entries of a log that steps are made of. Limits of the graph keep a run's log far below. */
const maxEntries = 10_000;

interface CallFacts {
  readonly id: string | null;
  readonly name: string | null;
}

interface MessageFacts {
  readonly role: string;
  readonly model: string;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly latency_ms: number;
  readonly call_id: string;
  readonly calls: CallFacts[] | null;
  readonly at: string;
}

interface EntryFacts {
  readonly seq: number;
  readonly type: string;
  readonly at: string;
  readonly told: MessageFacts[] | null;
  readonly worker: string | null;
  readonly spent: { readonly prompt_tokens?: unknown; readonly completion_tokens?: unknown; readonly cost_usd?: unknown } | null;
  readonly outcomes: unknown;
  readonly calls: CallFacts[] | null;
  readonly error: string | null;
  readonly reason: string | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly in_ms: string | null;
}

interface ApprovalFacts {
  readonly id: string;
  readonly call_id: string;
  readonly tool_name: string;
  readonly status: string;
  readonly reason: string;
  readonly is_decided: boolean;
  readonly created_at: string;
  readonly decided_at: string | null;
}

interface LogRow {
  readonly owner: string;
  readonly entries: EntryFacts[] | null;
  readonly approvals: ApprovalFacts[] | null;
}

/** Ids and names of calls in a JSON array, without their arguments; `name` is SQL for the name of a call `c`. */
const callsIn = (array: string, name: string) => `(
  select json_agg(json_build_object('id', c ->> 'id', 'name', ${name}) order by place)
  from json_array_elements(case json_typeof(${array}) when 'array' then ${array} end) with ordinality as calls(c, place)
)`;

/** Escapes that PostgreSQL stores in JSON but cannot read: NUL and, unless they are pairs, surrogates. */
const unreadable = "\\\\u(0000|d[89a-f])";

/**
 * The log of a run `$1` of user `$2` in conversation `$3` up to entry `$4`, without texts, arguments and results.
 * Exported for the test of its plan.
 */
export const stepsSql = `
select r.owner, (
  select json_agg(e order by e.seq)
  from (
    select e.seq, e.type, e.created_at as at, p ->> 'worker' as worker, p -> 'spent' as spent, p -> 'outcomes' as outcomes,
      left(p ->> 'error', 2000) as error, p ->> 'reason' as reason, p ->> 'provider' as provider, p ->> 'model' as model,
      p ->> 'in_ms' as in_ms,
      case e.type when 'needs_review' then ${callsIn("(p -> 'calls')", "c ->> 'name'")} end as calls,
      case when e.messages > 0 then (
        select json_agg(json_build_object(
          'role', m.role, 'model', m.model, 'prompt_tokens', m.prompt_tokens, 'completion_tokens', m.completion_tokens,
          'latency_ms', m.latency_ms, 'call_id', m.tool_call_id, 'at', m.created_at,
          'calls', ${callsIn("m.tool_calls", "c -> 'function' ->> 'name'")}
        ) order by m.sequence_number)
        from messages m
        where m.conversation_id = $3 and m.sequence_number >= e.first_message and m.sequence_number < e.first_message + e.messages
      ) end as told
    from run_events e
      cross join lateral (select case when e.payload::text !~* '${unreadable}' then e.payload end) as readable(p)
    where e.run_id = $1 and e.seq <= $4
    order by e.seq
    limit ${maxEntries}
  ) e
) as entries, (
  select json_agg(json_build_object('id', a.id, 'call_id', a.call_id, 'tool_name', a.tool_name, 'status', a.status,
    'reason', a.reason, 'is_decided', a.decided_by is not null, 'created_at', a.created_at, 'decided_at', a.decided_at
  ) order by a.epoch, a.position)
  from approvals a
  where a.run_id = $1 and a.status <> 'superseded'
) as approvals
from runs r
where r.run_id = $1 and r.user_id = $2`;

const maxCount = 2_147_483_647;

/** A number of a payload: finite and not negative. */
const amount = (value: unknown) => (Number.isFinite(value) && (value as number) > 0 ? (value as number) : 0);
/** A number of a payload that fits an integer field. */
const count = (value: unknown) => Math.trunc(Math.min(amount(value), maxCount));

/** How calls ended, by call id, from pairs of texts. */
function toOutcomes(pairs: unknown): Map<string, string> {
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string";
  return new Map(Array.isArray(pairs) ? pairs.filter(isPair) : []);
}

/** Calls that have an id. */
function toCalls(calls: EntryFacts["calls"]): StepCall[] {
  return (calls ?? []).flatMap(({ id, name }) => (id === null ? [] : [{ id, name: name ?? "" }]));
}

function toEntry(row: EntryFacts): StepEntry {
  const { spent, outcomes } = row;
  return {
    seq: row.seq,
    type: row.type,
    atMs: Date.parse(row.at),
    messages: (row.told ?? []).map((message) => ({
      role: message.role,
      model: message.model,
      promptTokens: message.prompt_tokens,
      completionTokens: message.completion_tokens,
      latencyMs: message.latency_ms,
      callId: message.call_id,
      calls: toCalls(message.calls),
      atMs: Date.parse(message.at),
    })),
    worker: row.worker ?? "",
    spent: spent
      ? {
          promptTokens: count(spent.prompt_tokens),
          completionTokens: count(spent.completion_tokens),
          costUsd: amount(spent.cost_usd),
        }
      : undefined,
    outcomes: toOutcomes(outcomes),
    calls: toCalls(row.calls),
    error: row.error ?? "",
    reason: (row.reason ?? "").replace(/^ERROR_REASON_/, ""),
    provider: row.provider ?? "",
    model: row.model ?? "",
    inMs: count(Number(row.in_ms)),
  };
}

function toApproval(row: ApprovalFacts): StepApproval {
  return {
    id: row.id,
    callId: row.call_id,
    toolName: row.tool_name,
    status: row.status,
    reason: row.reason,
    isDecided: row.is_decided,
    createdMs: Date.parse(row.created_at),
    endedMs: row.decided_at === null ? undefined : Date.parse(row.decided_at),
  };
}

/** The facts of which the steps of a user's run are made. */
export interface StepFacts {
  readonly run: StepRun;
  readonly entries: readonly StepEntry[];
  readonly approvals: readonly StepApproval[];
}

/** Reads the log of a run, up to the newest entry that its `RunInfo` knows, in one statement. */
export async function readStepFacts(db: Queryable, userId: string, run: RunInfo): Promise<StepFacts> {
  const { rows } = await db.query<LogRow>({
    name: "run-steps",
    text: stepsSql,
    values: [run.id, userId, run.conversationId, Number(run.lastEventId)],
  });
  const { owner = "", entries, approvals } = rows[0] ?? {};
  return {
    run: {
      status: run.status,
      agent: run.agentType,
      model: run.model,
      error: run.error,
      createdMs: run.createdAt === undefined ? 0 : timestampMs(run.createdAt),
      owner,
      receipts: new Map(run.receipts.map(({ callId, outcome }) => [callId, outcome])),
    },
    entries: (entries ?? []).map(toEntry),
    approvals: (approvals ?? []).map(toApproval),
  };
}
