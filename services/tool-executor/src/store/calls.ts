import { answeredWithin, type Queryable } from "@turnwright/platform/postgres/pool";
import type { CallResult } from "../calls/call-result.ts";
import type { CheckedCall } from "../calls/checked-call.ts";

/** The run that calls belong to; all ids are UUIDs. */
export interface RunScope {
  readonly runId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly epoch: number;
  readonly userId: string;
  readonly tokenId: string;
}

/** The right to run a call and to store its result. */
export interface Claim {
  readonly id: string;
  readonly claim: number;
}

/** A call that has ended, and the claim under which it ran. */
export interface FinishedCall {
  readonly claim: Claim;
  readonly result: CallResult;
}

const claimSql = `
insert into tool_executions (id, run_id, conversation_id, message_id, user_id, token_id, epoch, status, started_at,
  lease_until, tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
select c.id, $1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::uuid, $6::integer, 'running', now(),
  now() + $7 * interval '1 millisecond', c.tool_call_id, c.tool_name, c.tool_version, c.effect, c.requires_approval,
    c.input::json, c.arguments_hash
from unnest($8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::boolean[], $14::text[], $15::text[])
  as c(id, tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
on conflict (run_id, tool_call_id) do nothing
returning id, tool_call_id, claim`;

/** A call to claim, and the id of its row if this claim succeeds. */
export interface NewCall {
  readonly id: string;
  readonly call: CheckedCall;
}

interface ClaimRow extends Claim {
  readonly tool_call_id: string;
}

const claimsOf = (rows: readonly ClaimRow[]) =>
  new Map(rows.map(({ tool_call_id, id, claim }) => [tool_call_id, { id, claim } satisfies Claim]));

/** Claims the calls that are not in the ledger yet, with one statement. Gives the claims by call id. */
export async function claimCalls(
  db: Queryable,
  scope: RunScope,
  calls: readonly NewCall[],
  leaseMs: number,
): Promise<Map<string, Claim>> {
  // Sorted alike in every process, so that two that claim the same calls cannot deadlock.
  const sorted = calls.toSorted((a, b) => (a.call.callId < b.call.callId ? -1 : 1));
  const { rows } = await db.query<ClaimRow>(claimSql, [
    scope.runId,
    uuidOrNull(scope.conversationId),
    uuidOrNull(scope.messageId),
    scope.userId,
    uuidOrNull(scope.tokenId),
    scope.epoch,
    leaseMs,
    sorted.map(({ id }) => id),
    ...columnsOf(sorted.map(({ call }) => call)),
  ]);
  return claimsOf(rows);
}

const confirmSql = `
with own as (
  select id from tool_executions where id = any($1::uuid[]) and claim = 1 and status = 'running' order by id for update
)
update tool_executions e set lease_until = now() + $2 * interval '1 millisecond' from own where e.id = own.id
returning e.id, e.tool_call_id, e.claim`;

/** The claims, by call id, that an earlier `claimCalls` with these ids has made, if they still hold. Renews them. */
export async function confirmClaims(db: Queryable, ids: readonly string[], leaseMs: number): Promise<Map<string, Claim>> {
  return claimsOf((await db.query<ClaimRow>(confirmSql, [ids, leaseMs])).rows);
}

/** The columns that describe calls, one array each: id, tool, version, effect, approval, arguments, their hash. */
export function columnsOf(calls: readonly CheckedCall[]): unknown[] {
  return [
    calls.map(({ callId }) => callId),
    calls.map(({ toolName }) => toolName),
    calls.map(({ registered }) => registered.tool.version),
    calls.map(({ registered }) => registered.tool.effect),
    calls.map(({ registered }) => registered.spec.requiresApproval),
    calls.map(({ argumentsText }) => (argumentsText.trim() === "" ? "{}" : argumentsText)),
    calls.map(({ argumentsHash }) => argumentsHash),
  ];
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
  started_at = case when d.began then now() - d.duration_ms * interval '1 millisecond' end,
  completed_at = now(), lease_until = null
from ended d join held using (id)
where e.id = d.id and e.claim = d.claim and e.status in ('running', 'unknown')
returning e.id`;

/** Limit for a statement about own calls: after a connection hangs, the next statement gets another connection. */
const ownTimeoutMs = 5_000;

/** Stores the results of calls; for each, whether its claim was still valid. */
export async function finishCalls(db: Queryable, calls: readonly FinishedCall[]): Promise<boolean[]> {
  const values = [
    calls.map(({ claim }) => claim.id),
    calls.map(({ claim }) => claim.claim),
    calls.map(({ result }) => result.status),
    calls.map(({ result }) => result.output),
    calls.map(({ result }) => result.error),
    calls.map(({ result }) => result.durationMs),
    calls.map(({ result }) => result.began),
  ];
  const { rows } = await db.query<{ id: string }>(answeredWithin(ownTimeoutMs, { text: finishSql, values }));
  const stored = new Set(rows.map(({ id }) => id));
  return calls.map(({ claim }) => stored.has(claim.id));
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

/**
 * Extends the leases of running calls, except of rows that are locked right now. Gives the ids of calls that are to
 * stop.
 */
export async function renewLeases(db: Queryable, claims: readonly Claim[], leaseMs: number): Promise<string[]> {
  const ids = claims.map(({ id }) => id);
  const values = [ids, claims.map(({ claim }) => claim), leaseMs];
  const query = answeredWithin(Math.min(ownTimeoutMs, leaseMs * 0.4), { text: renewSql, values });
  const { rows } = await db.query<{ id: string; cancel_requested: boolean }>(query);
  return rows.flatMap(({ id, cancel_requested }) => (cancel_requested ? [id] : []));
}

/** Null for an id that is not set. */
export function uuidOrNull(id: string): string | null {
  return id === "" ? null : id;
}
