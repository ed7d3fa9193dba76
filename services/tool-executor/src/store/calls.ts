import { answeredWithin, type Queryable } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { ToolEffect } from "../tool-definition/define-tool.ts";

/** The run that calls belong to; all ids are UUIDs. */
export interface RunScope {
  readonly runId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly epoch: number;
  readonly userId: string;
  readonly tokenId: string;
}

/** A call as the ledger writes it down. */
export interface CallEntry {
  readonly callId: string;
  readonly toolName: string;
  readonly toolVersion: string;
  readonly effect: ToolEffect;
  readonly requiresApproval: boolean;
  /** JSON text. */
  readonly input: string;
  readonly argumentsHash: string;
}

/** The right to run a call and to store its result. */
export interface Claim {
  readonly id: string;
  readonly claim: number;
}

/** The end of a call. */
export interface CallEnd {
  readonly status: "success" | "failed" | "cancelled" | "unknown";
  /** JSON text; null unless the call succeeded. */
  readonly output: string | null;
  /** Null if the call succeeded. */
  readonly error: string | null;
  readonly durationMs: number;
  /** False: it ended before the tool was called. */
  readonly began: boolean;
}

/** What the ledger knows of a call that was claimed before. */
export interface KnownCall extends Claim {
  readonly status: CallEnd["status"] | "running";
  /** The row is of the same user, tool and arguments. */
  readonly matches: boolean;
  /** This look-up claimed the call anew. */
  readonly taken: boolean;
  /** Somebody has stopped the call for good. */
  readonly isStopped: boolean;
  readonly output: string | null;
  readonly error: string | null;
  readonly durationMs: number;
  /** Milliseconds for which another process holds the call; at most 0 when it does not any more. */
  readonly leaseLeftMs: number;
}

const claimSql = `
insert into tool_executions (id, run_id, conversation_id, message_id, user_id, token_id, epoch, status, started_at, lease_until,
  tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
select c.id, $1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::integer, 'running', now(), now() + $7 * interval '1 millisecond',
  c.tool_call_id, c.tool_name, c.tool_version, c.effect, c.requires_approval, c.input::json, c.arguments_hash
from unnest($8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::boolean[], $14::text[], $15::text[])
  as c(id, tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
on conflict (run_id, tool_call_id) do nothing
returning id, tool_call_id, claim`;

/** Claims the calls that nobody has claimed before, all in one statement; the claims by call id. */
export async function claimCalls(
  db: Queryable,
  scope: RunScope,
  calls: readonly CallEntry[],
  leaseMs: number,
): Promise<Map<string, Claim>> {
  // In one order in every process, so that two that claim the same calls cannot wait for each other.
  const sorted = calls.toSorted((a, b) => (a.callId < b.callId ? -1 : 1));
  const { rows } = await db.query<{ id: string; tool_call_id: string; claim: number }>(claimSql, [
    scope.runId,
    uuidOrNull(scope.conversationId),
    uuidOrNull(scope.messageId),
    scope.userId,
    uuidOrNull(scope.tokenId),
    scope.epoch,
    leaseMs,
    sorted.map(() => uuidv7()),
    ...columnsOf(sorted),
  ]);
  return new Map(rows.map(({ tool_call_id, id, claim }) => [tool_call_id, { id, claim }]));
}

function columnsOf(calls: readonly CallEntry[]): unknown[] {
  return [
    calls.map(({ callId }) => callId),
    calls.map(({ toolName }) => toolName),
    calls.map(({ toolVersion }) => toolVersion),
    calls.map(({ effect }) => effect),
    calls.map(({ requiresApproval }) => requiresApproval),
    calls.map(({ input }) => input),
    calls.map(({ argumentsHash }) => argumentsHash),
  ];
}

const revisitSql = `
with asked as (
  select * from unnest($3::text[], $4::text[], $5::text[]) as a(tool_call_id, tool_name, arguments_hash)
), lapsed as (
  select e.id, case
      when e.status = 'running' and e.effect = 'once' then 'unknown'
      when e.cancel_requested then 'cancelled'
      else 'running'
    end as next
  from tool_executions e join asked a using (tool_call_id, tool_name, arguments_hash)
  where e.run_id = $1 and e.user_id = $2
    and (
      (e.status = 'running' and e.lease_until <= now() and $11::boolean and ($6::boolean or e.effect = 'once' or e.cancel_requested))
      or (e.status = 'cancelled' and $6::boolean and not e.cancel_requested)
    )
  order by e.id
  for update of e
), moved as (
  update tool_executions e
  set status = next,
    claim = case when next = 'running' then e.claim + 1 else e.claim end,
    error_message = case next when 'unknown' then $7 when 'cancelled' then $10 end,
    epoch = greatest(e.epoch, $8::integer),
    started_at = case when next = 'running' then now() else e.started_at end,
    completed_at = case when next = 'running' then null else now() end,
    lease_until = case when next = 'running' then now() + $9 * interval '1 millisecond' end
  from lapsed
  where e.id = lapsed.id
  returning e.id, e.status, e.claim, e.error_message
)
select e.id, e.tool_call_id, coalesce(m.claim, e.claim) as claim, coalesce(m.status, e.status) as status,
  e.user_id = $2 and e.tool_name = a.tool_name and e.arguments_hash = a.arguments_hash as matches,
  coalesce(m.status = 'running', false) as taken, e.cancel_requested and e.user_id = $2 as stopped, e.started_at is not null as began,
  e.output::text as output, coalesce(m.error_message, e.error_message) as error, coalesce(e.duration_ms, 0) as duration_ms,
  coalesce(extract(epoch from e.lease_until - now()) * 1000, 0)::double precision as lease_left_ms
from asked a join tool_executions e using (tool_call_id) left join moved m on m.id = e.id
where e.run_id = $1`;

interface KnownRow {
  id: string;
  tool_call_id: string;
  claim: number;
  status: KnownCall["status"];
  matches: boolean;
  taken: boolean;
  stopped: boolean;
  began: boolean;
  output: string | null;
  error: string | null;
  duration_ms: number;
  lease_left_ms: number;
}

/** The error of a call with effect `once` whose process is gone. */
export const lostCall = "The process that ran the call is gone; nobody knows whether it took effect.";
/** The error of a call that was cancelled in time. */
export const neverBegan = "The call was cancelled before it began.";
/** The error of a call that was stopped and whose process is gone. */
export const stoppedCall = "The call was cancelled while it ran.";

/**
 * What the ledger knows of calls; those that nobody claimed are absent. On the way, a call whose lease is over or that was cancelled
 * before it took effect is claimed anew (`takeOver`), and a `once` call whose lease is over becomes `unknown`. Right after an outage
 * (`isSettled` false) no lease counts as over.
 */
export async function revisitCalls(
  db: Queryable,
  scope: RunScope,
  calls: readonly Pick<CallEntry, "callId" | "toolName" | "argumentsHash">[],
  options: { takeOver: boolean; leaseMs: number; isSettled: boolean },
): Promise<Map<string, KnownCall>> {
  const { rows } = await db.query<KnownRow>(revisitSql, [
    scope.runId,
    scope.userId,
    calls.map(({ callId }) => callId),
    calls.map(({ toolName }) => toolName),
    calls.map(({ argumentsHash }) => argumentsHash),
    options.takeOver,
    lostCall,
    scope.epoch,
    options.leaseMs,
    stoppedCall,
    options.isSettled,
  ]);
  return new Map(
    rows.map(({ tool_call_id, duration_ms, lease_left_ms, stopped, ...row }) => [
      tool_call_id,
      { ...row, durationMs: duration_ms, leaseLeftMs: lease_left_ms, isStopped: stopped },
    ]),
  );
}

const finishSql = `
with ended as (
  select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::boolean[])
    as d(id, claim, status, output, error_message, duration_ms, began)
), held as (
  select e.id from tool_executions e join ended d using (id) order by e.id for update of e
)
update tool_executions e
set status = d.status, output = d.output::json, error_message = d.error_message, duration_ms = d.duration_ms,
  started_at = case when d.began then now() - d.duration_ms * interval '1 millisecond' end, completed_at = now(), lease_until = null
from ended d join held using (id)
where e.id = d.id and e.claim = d.claim and e.status in ('running', 'unknown')
returning e.id`;

/** How long a statement of a process about its own calls may take: on a connection that hangs, the next one finds another. */
const ownTimeoutMs = 5_000;

/** Stores how calls ended; for each, whether its claim was still the valid one. */
export async function finishCalls(db: Queryable, ends: readonly (Claim & CallEnd)[]): Promise<boolean[]> {
  const values = [
    ends.map(({ id }) => id),
    ends.map(({ claim }) => claim),
    ends.map(({ status }) => status),
    ends.map(({ output }) => output),
    ends.map(({ error }) => error),
    ends.map(({ durationMs }) => durationMs),
    ends.map(({ began }) => began),
  ];
  const { rows } = await db.query<{ id: string }>(answeredWithin(ownTimeoutMs, { text: finishSql, values }));
  const stored = new Set(rows.map(({ id }) => id));
  return ends.map(({ id }) => stored.has(id));
}

const renewSql = `
with held as (
  select e.id
  from tool_executions e join unnest($1::uuid[], $2::integer[]) as h(id, claim) on e.id = h.id and e.claim = h.claim
  where e.status = 'running'
  for update of e skip locked
)
update tool_executions e set lease_until = now() + $3 * interval '1 millisecond' from held where e.id = held.id
returning e.id, e.cancel_requested`;

/** Moves the leases of running calls forward; a row that is being written at this moment is left alone. The ids of those that are to stop. */
export async function renewLeases(db: Queryable, claims: readonly Claim[], leaseMs: number): Promise<string[]> {
  const ids = claims.map(({ id }) => id);
  const values = [ids, claims.map(({ claim }) => claim), leaseMs];
  const query = answeredWithin(Math.min(ownTimeoutMs, leaseMs * 0.4), { text: renewSql, values });
  const { rows } = await db.query<{ id: string; cancel_requested: boolean }>(query);
  return rows.flatMap(({ id, cancel_requested }) => (cancel_requested ? [id] : []));
}

/** A call that has ended and belongs to no run. */
export interface FreeCall extends CallEntry, CallEnd {
  readonly userId: string;
  readonly tokenId: string;
}

const insertSql = `
insert into tool_executions (id, user_id, token_id, status, output, error_message, duration_ms, queued_at, started_at, completed_at,
  tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
select c.id, c.user_id, c.token_id, c.status, c.output::json, c.error_message, c.duration_ms,
  now() - c.duration_ms * interval '1 millisecond', now() - c.duration_ms * interval '1 millisecond', now(),
  c.tool_call_id, c.tool_name, c.tool_version, c.effect, c.requires_approval, c.input::json, c.arguments_hash
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::integer[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::text[], $14::text[])
  as c(id, user_id, token_id, status, output, error_message, duration_ms,
    tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)`;

/** Writes down calls without a run, after they have ended. */
export async function insertFreeCalls(db: Queryable, calls: readonly FreeCall[]): Promise<void> {
  await db.query(insertSql, [
    calls.map(() => uuidv7()),
    calls.map(({ userId }) => userId),
    calls.map(({ tokenId }) => uuidOrNull(tokenId)),
    calls.map(({ status }) => status),
    calls.map(({ output }) => output),
    calls.map(({ error }) => error),
    calls.map(({ durationMs }) => durationMs),
    ...columnsOf(calls),
  ]);
}

function uuidOrNull(id: string): string | null {
  return id === "" ? null : id;
}
