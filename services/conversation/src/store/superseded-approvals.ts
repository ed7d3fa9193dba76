import { ErrorReason, fail } from "@turnwright/platform/errors";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { type Tx, transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import type { Decision } from "../decisions.ts";
import type { ApprovalRow } from "./rows.ts";

/** A pending approval that was requested for a version of its tool that the executors no longer have. */
export interface OutdatedApproval {
  /** UUID of the approval. */
  readonly id: string;
  readonly callId: string;
  readonly tool: string;
  /** The version that was shown. */
  readonly version: string;
  /** The executors' version; undefined: the tool no longer exists. */
  readonly newVersion: string | undefined;
}

/** Approvals that must not be granted, because the call that was shown can no longer run. */
export class OutdatedApprovals extends Error {
  readonly runId: string;
  readonly epoch: number;
  readonly approvals: readonly OutdatedApproval[];

  constructor({ runId, epoch }: { runId: string; epoch: number }, approvals: readonly OutdatedApproval[]) {
    super("tools have changed since approvals were requested");
    this.runId = runId;
    this.epoch = epoch;
    this.approvals = approvals;
  }
}

/** The calls to approve whose tools have another version now, by tool name. Without known versions: none. */
export function outdatedApprovals(
  round: readonly ApprovalRow[],
  made: readonly Decision[],
  versions: ReadonlyMap<string, string>,
): OutdatedApproval[] {
  if (versions.size === 0) return [];
  const approved = new Set(made.flatMap((decision) => (decision.approved ? [decision.id] : [])));
  return round.flatMap(({ id, call_id: callId, tool_name: tool, tool_version: version }) => {
    const newVersion = versions.get(tool);
    return approved.has(id) && newVersion !== version ? [{ id, callId, tool, version, newVersion }] : [];
  });
}

const lockSql = "select from runs where run_id = $1 and epoch = $2 and status = 'waiting' for no key update";

const supersedeSql = `
update approvals a set status = 'superseded', superseded_by = f.fresh, decided_at = now()
from unnest($2::uuid[], $3::uuid[]) as f(id, fresh)
where a.id = f.id and a.run_id = $1 and a.status = 'pending'
returning a.id`;

const renewSql = `
insert into approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, tool_version, arguments)
select f.fresh, a.conversation_id, a.run_id, a.user_id, a.epoch, a.position, a.call_id, a.tool_name, f.version, a.arguments
from unnest($1::uuid[], $2::uuid[], $3::text[]) as f(id, fresh, version) join approvals a on a.id = f.id`;

/**
 * Puts a fresh approval, for the tool as it is now, in the place of each outdated one, so that a person decides on what
 * will run. An approval of a tool that no longer exists stays pending: it can be rejected. Returns the error for the
 * decider. Approvals that another decision has settled meanwhile stay as they are.
 */
export async function supersedeApprovals(pool: pg.Pool, { runId, epoch, approvals }: OutdatedApprovals): Promise<Error> {
  const changed = approvals.flatMap((one) =>
    one.newVersion === undefined ? [] : [{ ...one, newVersion: one.newVersion, fresh: uuidv7() }],
  );
  if (changed.length === 0) return refusal(approvals, new Map());
  const fresh = await transaction(pool, async (tx) => {
    if ((await tx.query(lockSql, [runId, epoch])).rowCount === 0) return new Map<string, string>();
    const ids = changed.map(({ id }) => id);
    const { rows } = await tx.query<{ id: string }>(supersedeSql, [runId, ids, changed.map((one) => one.fresh)]);
    const done = new Set(rows.map(({ id }) => id));
    const renewed = changed.filter(({ id }) => done.has(id));
    await tx.query(renewSql, [
      renewed.map(({ id }) => id),
      renewed.map((one) => one.fresh),
      renewed.map(({ newVersion }) => newVersion),
    ]);
    for (const one of renewed) await record(tx, runId, one);
    return new Map(renewed.map((one) => [one.id, one.fresh]));
  });
  return refusal(approvals, fresh);
}

function record(
  tx: Tx,
  runId: string,
  { id, callId, tool, version, newVersion, fresh }: OutdatedApproval & { readonly newVersion: string; readonly fresh: string },
): Promise<unknown> {
  const details = { run_id: runId, call_id: callId, tool, version, new_version: newVersion, superseded_by: fresh };
  return appendAudit(tx, undefined, { action: "approval.superseded", outcome: "success", subject: id, details });
}

/** Approvals that an error tells of: it also crosses as a header. */
const maxTold = 10;

function refusal(approvals: readonly OutdatedApproval[], fresh: ReadonlyMap<string, string>) {
  const sentences = approvals.slice(0, maxTold).map(({ id, tool, version, newVersion }) => {
    if (newVersion === undefined) return `The tool ${tool} no longer exists, so the call cannot run; reject it.`;
    const now = fresh.get(id);
    const next = now === undefined ? "Read the pending approvals again and decide anew." : `Decide on the fresh approval ${now}.`;
    return (
      `The tool ${tool} has changed from version ${version || "unknown"} to ${newVersion} since its approval ` +
      `was requested. ${next}`
    );
  });
  const left = approvals.length - sentences.length;
  if (left > 0) sentences.push(`The same holds for ${left} more; read the pending approvals again.`);
  return fail(ErrorReason.APPROVAL_SUPERSEDED, sentences.join(" "), { param: "approved" });
}

/** The error for a decision on a superseded approval. */
export function supersededEarlier({ tool_name: tool, superseded_by: fresh }: ApprovalRow, param: string) {
  const text = `The tool ${tool} has changed since this approval was requested. Decide on the fresh approval ${fresh}.`;
  return fail(ErrorReason.APPROVAL_SUPERSEDED, text, { param });
}
