import type { ConnectError } from "@connectrpc/connect";
import type { Approval } from "@turnwright/contract/conversation/v1/conversation";
import { cutText, ErrorReason, fail } from "@turnwright/platform/errors";

/** Characters of the texts in an error, which also crosses as a header. */
const [maxReason, maxName] = [500, 200];

/** Whether nobody decided on the call in time. */
export function isExpired({ decidedBy, reason }: Approval): boolean {
  return decidedBy === "" && reason === "expired";
}

/** Whether a decision is the one that stands: the same answer, reason and arguments. */
export function isSameDecision(
  standing: Approval,
  { approved, reason, json }: { approved: boolean; reason: string; json: string },
): boolean {
  const isAnswer = standing.decidedBy !== "" && standing.status === (approved ? "approved" : "rejected");
  return isAnswer && standing.reason === reason && standing.editedArguments === json;
}

function detailsOf(standing: Approval) {
  const { id, status, reason, decidedBy, decidedByName, decidedVia, decidedAt, editedArguments, runId } = standing;
  return {
    id,
    status,
    reason: cutText(reason, maxReason),
    decidedBy,
    decidedByName: cutText(decidedByName, maxName),
    decidedVia: cutText(decidedVia, maxName),
    decidedAt,
    isEdited: editedArguments !== "",
    runId,
  };
}

/** The error for a decision on a call on which another decision stands. */
export function alreadyDecided(standing: Approval, cause: unknown): ConnectError {
  const { status, decidedBy, decidedByName, reason } = standing;
  const who = decidedByName === "" ? "" : ` by ${cutText(decidedByName, maxName)}`;
  const text =
    decidedBy === ""
      ? `This call was ${status} without a decision: ${cutText(reason, maxReason)}`
      : `This call has been ${status}${who} already. Nothing has changed.`;
  return fail(ErrorReason.APPROVAL_DECIDED, text, { param: "approved", approval: detailsOf(standing), cause });
}

/** The error for a decision on a call on which nobody decided in time. */
export function decidedTooLate(standing: Approval, cause: unknown): ConnectError {
  const text = "Nobody decided on this call in time; it counts as rejected.";
  return fail(ErrorReason.APPROVAL_EXPIRED, text, { param: "approved", approval: detailsOf(standing), cause });
}
