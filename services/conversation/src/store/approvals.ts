import { create } from "@bufbuild/protobuf";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { Approval, Conversation } from "@turnwright/contract/conversation/v1/conversation";
import { type Run, type RunContext, RunContextSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterPosition, createdUsColumn, type KeysetPosition } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable, Tx } from "@turnwright/platform/postgres/pool";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import type { DeciderNames } from "../decider-names.ts";
import { checkKinship, checkTools, type Decider, type StartedRun } from "../deciders.ts";
import { type Decision, type Decisions, decide } from "../decisions.ts";
import { claimedOrQueued, type GraphVersions } from "./claims/graph-versions.ts";
import { nothingWaits } from "./nothing-waits.ts";
import { type SizedRow, sizedPage, sizedRows } from "./response-size.ts";
import {
  type ApprovalRow,
  approvalColumns,
  type ConversationRow,
  conversationColumns,
  type RunRow,
  runColumns,
  toApproval,
  toConversation,
  toRun,
} from "./rows.ts";
import { defaultContextLimit, readContextMessages } from "./run-context.ts";
import { type SettledCall, settledCallOf } from "./settled-calls.ts";
import { OutdatedApprovals, outdatedApprovals, supersededEarlier } from "./superseded-approvals.ts";

/** The outcome of decisions. `calls` are all decided calls of the round, in the order of the calls. */
export interface Settlement {
  readonly conversation: Conversation;
  /** Set when no call is left pending and the run is claimed; the caller fills in its decisions. */
  readonly context?: RunContext;
  /** Set when no call is left pending but the decider's process does not drive the run's graph version. */
  readonly queued?: Run;
  readonly calls: readonly SettledCall[];
}

/** A decision as the audit log records it. */
export interface DecidedApproval {
  /** UUID of the approval. */
  readonly id: string;
  readonly runId: string;
  /** UUID of the credential that started the run. */
  readonly startedBy: string;
  readonly callId: string;
  readonly tool: string;
  readonly approved: boolean;
  /** Whether the model's arguments were replaced. */
  readonly isEdited: boolean;
}

const lockSql = `
select run_id, epoch, token_id, family_id from runs
where conversation_id = $1 and user_id = $2 and status = 'waiting'
for no key update`;

interface ParkedRow extends StartedRun {
  readonly run_id: string;
  readonly epoch: number;
  readonly token_id: string | null;
}

/** How long a fresh approval is taken for one that its decider cannot have seen, unless they name it. */
const unseenSeconds = 2;

type RoundRow = ApprovalRow & { readonly expired: boolean; readonly unseen: boolean };

/** Superseded approvals are of calls that have a fresh one. */
const roundSql = `
select ${approvalColumns}, coalesce(expires_at <= now(), false) as expired,
  created_at > now() - ${unseenSeconds} * interval '1 second' as unseen
from approvals
where run_id = $1 and epoch = $2 and user_id = $3
order by position`;

const decideSql = `
update approvals a
set status = case when d.approved then 'approved' else 'rejected' end, reason = d.reason, edited_arguments = d.edited,
  decided_by = $2, decided_token_id = $7, decided_token_type = $8, decided_by_name = $9, decided_via = $10, decided_at = now()
from unnest($3::uuid[], $4::boolean[], $5::text[], $6::text[]) as d(id, approved, reason, edited)
where a.id = d.id and a.run_id = $1 and a.status = 'pending'`;

const claimSql = `
with claimed as (
  update runs r
  set seq = r.seq + 1, updated_at = now(), ${claimedOrQueued({ owner: "$3", oldest: "$5", newest: "$6" })}
  where r.run_id = $1 and r.user_id = $2
  returning ${runColumns}
), logged as (
  insert into run_events (run_id, seq, type, payload) select run_id, seq, 'resumed', $4::json from claimed
), opened as (
  update conversations set status = 'active', updated_at = now()
  where id = (select conversation_id from claimed) and user_id = $2 and deleted_at is null
  returning ${conversationColumns}
)
select row_to_json(claimed) as run, row_to_json(opened) as conversation from claimed, opened`;

const conversationSql = `
select ${conversationColumns} from conversations
where id = $1 and user_id = $2 and deleted_at is null`;

/**
 * Decides calls for which a conversation's run is parked. The statement locks the run's row first, so decisions are
 * serial and the first one wins. When the last call is decided, the run continues: claimed for `owner`, or queued for a
 * worker that drives its graph version. Throws NOT_FOUND, NOTHING_TO_APPROVE, INVALID_REQUEST for a call that is not
 * parked, APPROVAL_EXPIRED, APPROVAL_SUPERSEDED; PERMISSION_DENIED and TOOL_NOT_ALLOWED for a caller who may not
 * decide; OutdatedApprovals, without any effect, when tools of approved calls have changed.
 */
export function decideApprovals(
  users: UserPool,
  asked: {
    conversationId: string;
    decider: Decider;
    /** The decider's names, for the record. */
    names: DeciderNames;
    owner: string;
    /** The graph versions that the owner drives. */
    versions: GraphVersions;
    contextLimit: number;
    decisions: Decisions;
    /** The executors' versions of tools by name; empty: unknown. */
    toolVersions: ReadonlyMap<string, string>;
    /** Records the decisions in the audit log, in the same transaction. */
    audit(tx: Tx, decided: readonly DecidedApproval[]): Promise<void>;
  },
): Promise<Settlement> {
  const { conversationId, decider } = asked;
  const { userId } = decider;
  return users.transaction(userId, async (tx) => {
    const parked = (await tx.query<ParkedRow>(lockSql, [conversationId, userId])).rows[0];
    const conversation = await findConversation(tx, conversationId, userId);
    if (parked === undefined) throw await nothingWaits(tx, { decider, decisions: asked.decisions });
    checkKinship(decider, parked);
    const { rows } = await tx.query<RoundRow>(roundSql, [parked.run_id, parked.epoch, userId]);
    refuseSuperseded(rows, asked.decisions);
    const round = rows.filter(({ status }) => status !== "superseded");
    const made = decide(round, asked.decisions);
    checkTools(decider, toolsOf(round, made));
    refuseUnseen(rows, asked.decisions, made);
    const outdated = outdatedApprovals(round, made, asked.toolVersions);
    if (outdated.length > 0) throw new OutdatedApprovals({ runId: parked.run_id, epoch: parked.epoch }, outdated);
    await tx.query(decideSql, [
      parked.run_id,
      userId,
      made.map(({ id }) => id),
      made.map(({ approved }) => approved),
      made.map(({ reason }) => reason),
      made.map(({ editedArguments }) => editedArguments ?? null),
      decider.tokenId || null,
      decider.tokenType === TokenType.API_KEY ? "api_key" : "session",
      asked.names.name,
      asked.names.via,
    ]);
    await asked.audit(tx, decidedApprovals(parked, round, made));
    const calls = settledCalls(round, made);
    if (calls.length < round.length) return { conversation, calls };
    const gone = await goOn(tx, { ...asked, userId, runId: parked.run_id, calls });
    return { ...gone, calls };
  });
}

function refuseSuperseded(rows: readonly ApprovalRow[], { calls }: Decisions): void {
  for (const [index, { approvalId }] of calls.entries()) {
    const row = rows.find(({ id, status }) => id === approvalId && status === "superseded");
    if (row !== undefined) throw supersededEarlier(row, `calls[${index}].approval_id`);
  }
}

/** A decision on all calls, on its way while a tool changed, must not approve a call that nobody was shown. */
function refuseUnseen(rows: readonly RoundRow[], { calls }: Decisions, made: readonly Decision[]): void {
  const named = new Set(calls.map(({ approvalId }) => approvalId));
  const approved = new Set(made.flatMap(({ id, approved: given }) => (given && !named.has(id) ? [id] : [])));
  const unseen = rows.find((row) => row.unseen && approved.has(row.id));
  const before = rows.find(({ superseded_by: fresh }) => fresh !== null && fresh === unseen?.id);
  if (before !== undefined) throw supersededEarlier(before, "approved");
}

async function findConversation(db: Queryable, conversationId: string, userId: string): Promise<Conversation> {
  const { rows } = await db.query<ConversationRow>(conversationSql, [conversationId, userId]);
  if (rows[0] === undefined) throw fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
  return toConversation(rows[0]);
}

function decidedApprovals({ token_id }: ParkedRow, round: readonly ApprovalRow[], made: readonly Decision[]): DecidedApproval[] {
  const startedBy = token_id ?? "";
  const rows = new Map(round.map((row) => [row.id, row]));
  return made.flatMap(({ id, approved, editedArguments }) => {
    const row = rows.get(id);
    const isEdited = editedArguments !== undefined;
    if (row === undefined) return [];
    return [{ id, approved, isEdited, startedBy, runId: row.run_id, callId: row.call_id, tool: row.tool_name }];
  });
}

/** Tool names of the decided calls. */
function toolsOf(round: readonly ApprovalRow[], made: readonly Decision[]): string[] {
  const decided = new Set(made.map(({ id }) => id));
  return round.filter(({ id }) => decided.has(id)).map((row) => row.tool_name);
}

function settledCalls(round: readonly ApprovalRow[], made: readonly Decision[]): SettledCall[] {
  const byId = new Map(made.map((decision) => [decision.id, decision]));
  return round.flatMap((row) => {
    const decision = byId.get(row.id);
    if (decision === undefined && row.status === "pending") return [];
    return settledCallOf(row, decision);
  });
}

async function goOn(
  tx: Tx,
  asked: {
    runId: string;
    userId: string;
    owner: string;
    versions: GraphVersions;
    contextLimit: number;
    calls: readonly SettledCall[];
  },
): Promise<Omit<Settlement, "calls">> {
  const limit = asked.contextLimit || defaultContextLimit;
  const payload = JSON.stringify({
    calls: asked.calls.map(({ decided: { callId, approved } }) => ({ call_id: callId, approved })),
  });
  const { rows } = await tx.query<{ run: RunRow; conversation: ConversationRow }>(claimSql, [
    asked.runId,
    asked.userId,
    asked.owner,
    payload,
    asked.versions.oldest,
    asked.versions.newest,
  ]);
  if (rows[0] === undefined) throw new Error("the run that this transaction has locked does not exist");
  const conversation = toConversation(rows[0].conversation);
  const run = toRun(rows[0].run);
  if (run.status === RunStatus.QUEUED) return { conversation, queued: run };
  const messages = await readContextMessages(tx, conversation, limit);
  return { conversation, context: create(RunContextSchema, { run, conversation, messages }) };
}

const getSql = `select ${approvalColumns} from approvals where id = $1 and user_id = $2`;

/** One of a user's approvals. Throws NOT_FOUND. */
export async function getApproval(db: Queryable, asked: { userId: string; approvalId: string }): Promise<Approval> {
  const { rows } = await db.query<ApprovalRow>({ name: "approval-get", text: getSql, values: [asked.approvalId, asked.userId] });
  if (rows[0] === undefined) throw fail(ErrorReason.NOT_FOUND, "There is no such approval.", { param: "approval_id" });
  return toApproval(rows[0]);
}

const newestFirst = "created_at desc, id desc";
const listSql = `${sizedRows(
  `select ${approvalColumns}, ${createdUsColumn}
  from approvals
  where user_id = $1 and status = $2
    and ${afterPosition("$3", "$4")}
  order by ${newestFirst}
  limit $5`,
  newestFirst,
  "octet_length(arguments) + coalesce(octet_length(edited_arguments), 0)",
)}
order by ${newestFirst}`;

/**
 * A page of a user's approvals of one status, newest first. `next` is the start of the following page; unset on the
 * last.
 */
export async function listApprovals(
  db: Queryable,
  asked: { userId: string; status: string; after: KeysetPosition; limit: number },
): Promise<{ approvals: Approval[]; next?: KeysetPosition }> {
  const { userId, status, after, limit } = asked;
  const { rows } = await db.query<ApprovalRow & SizedRow>({
    name: "approvals-list",
    text: listSql,
    // One row more than the page shows whether another page follows.
    values: [userId, status, after.createdUs, after.id, limit + 1],
  });
  const { page, next } = sizedPage(
    rows,
    limit,
    ({ id }) => id,
    (row) => [row.arguments, row.edited_arguments ?? ""],
  );
  return {
    approvals: page.map(toApproval),
    next,
  };
}
