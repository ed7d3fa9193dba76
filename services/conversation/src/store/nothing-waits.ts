import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { checkKinship, checkTools, type Decider, type StartedRun } from "../deciders.ts";
import { type Decisions, tooLate } from "../decisions.ts";

const namedSql = `
select a.tool_name, a.status = 'rejected' and a.decided_by is null and a.reason = 'expired' as expired, r.family_id
from approvals a join runs r on r.run_id = a.run_id
where a.id = any ($1::uuid[]) and a.user_id = $2`;

interface NamedRow extends StartedRun {
  readonly tool_name: string;
  readonly expired: boolean;
}

/**
 * The error for decisions while no call of the conversation waits. The rules for deciders hold for named calls: throws
 * PERMISSION_DENIED and TOOL_NOT_ALLOWED.
 */
export async function nothingWaits(db: Queryable, { decider, decisions }: { decider: Decider; decisions: Decisions }) {
  const named = decisions.calls.flatMap(({ approvalId }) => (approvalId === "" ? [] : [approvalId]));
  if (named.length > 0) {
    const { rows } = await db.query<NamedRow>(namedSql, [named, decider.userId]);
    for (const row of rows) checkKinship(decider, row);
    checkTools(
      decider,
      rows.map((row) => row.tool_name),
    );
    if (rows.some(({ expired }) => expired)) return tooLate("calls");
  }
  return fail(ErrorReason.NOTHING_TO_APPROVE, "Nothing in this conversation waits for an approval.");
}
