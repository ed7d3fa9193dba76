import { create } from "@bufbuild/protobuf";
import { type DecidedCall, DecidedCallSchema } from "@turnwright/contract/conversation/v1/run";
import { type GrantClaims, hashArguments } from "@turnwright/platform/identity/grant";
import type { Decision } from "../decisions.ts";
import type { ApprovalRow } from "./rows.ts";

/**
 * A decided call. For an approved one, `claims` are those of its grant that do not depend on the run's current claim.
 */
export interface SettledCall {
  readonly decided: DecidedCall;
  readonly claims: Omit<GrantClaims, "epoch" | "tokenId">;
}

/** A decided call for its run to continue with: by the decision being made, or else by the one stored in its row. */
export function settledCallOf(row: ApprovalRow, decision?: Decision): SettledCall {
  const { approved, reason } = decision ?? { approved: row.status === "approved", reason: row.reason };
  const edited = (decision === undefined ? row.edited_arguments : decision.editedArguments) ?? "";
  return {
    decided: create(DecidedCallSchema, { callId: row.call_id, approved, reason, arguments: edited }),
    claims: {
      runId: row.run_id,
      callId: row.call_id,
      tool: row.tool_name,
      toolVersion: row.tool_version,
      argumentsHash: hashArguments(edited || row.arguments),
    },
  };
}
