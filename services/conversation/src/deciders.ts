import { type Identity, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";

/** Who decides. */
export type Decider = Pick<Identity, "userId" | "tokenId" | "tokenType" | "role" | "familyId" | "mayApprove" | "allowedTools">;

/** A run as far as it matters for who may decide on its calls. */
export interface StartedRun {
  /** Family of the credential that started it; null: unknown. */
  readonly family_id: string | null;
}

/** Refuses accounts that decide nothing. Throws PERMISSION_DENIED. */
export function checkRole({ role }: Pick<Decider, "role">, what: "decide on approvals" | "review runs"): void {
  if (role !== Role.AGENT) return;
  throw fail(ErrorReason.PERMISSION_DENIED, `An account with the role agent cannot ${what}.`);
}

/**
 * Refuses a key that would decide on calls of its own family: on those of the key that it is, that made it, that it
 * made, or that has a maker in common with it. Who holds one of them may be the program whose calls are to be looked
 * at. Where nobody knows who started the run, it counts as one of the family. A login may always decide. Throws
 * PERMISSION_DENIED.
 */
export function checkKinship(decider: Decider, run: StartedRun): void {
  if (decider.tokenType === TokenType.ACCESS || decider.mayApprove) return;
  if (run.family_id !== null && decider.familyId !== "" && run.family_id !== decider.familyId) return;
  throw fail(
    ErrorReason.PERMISSION_DENIED,
    "This API key may not decide on calls of a run that it, or a key of its family, started: it was made without may_approve.",
    { param: "may_approve" },
  );
}

/** Refuses a key that may not use a tool itself. Throws TOOL_NOT_ALLOWED. */
export function checkTools(decider: Decider, toolNames: Iterable<string>): void {
  for (const name of toolNames) {
    if (allows(decider.allowedTools, name)) continue;
    throw fail(ErrorReason.TOOL_NOT_ALLOWED, `This token may not use the tool ${name}, so it may not decide on its calls.`, {
      param: "allowed_tools",
    });
  }
}
