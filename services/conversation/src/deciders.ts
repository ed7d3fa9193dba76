import { type Identity, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";

/** The caller who decides, as far as the rules need to know. */
export type Decider = Pick<Identity, "userId" | "tokenId" | "tokenType" | "role" | "familyId" | "mayApprove" | "allowedTools">;

/** The part of a run on which the rules for deciders depend. */
export interface StartedRun {
  /** Family of the credential that started it; null: unknown. */
  readonly family_id: string | null;
}

/** Refuses accounts that may not decide. Throws PERMISSION_DENIED. */
export function checkRole({ role }: Pick<Decider, "role">, what: "decide on approvals" | "review runs"): void {
  if (role !== Role.AGENT) return;
  throw fail(ErrorReason.PERMISSION_DENIED, `An account with the role agent cannot ${what}.`);
}

/**
 * Refuses an API key that would decide on calls of its own family: the key itself, the key that created it, the keys
 * that it created, and keys with a common ancestor. The holder of such a key may be the very program whose calls need a
 * check. A run whose starter is unknown counts as one of the family. A login may always decide. Throws
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

/** Refuses a credential that may not use the tool itself. Throws TOOL_NOT_ALLOWED. */
export function checkTools(decider: Decider, toolNames: Iterable<string>): void {
  for (const name of toolNames) {
    if (allows(decider.allowedTools, name)) continue;
    throw fail(ErrorReason.TOOL_NOT_ALLOWED, `This token may not use the tool ${name}, so it may not decide on its calls.`, {
      param: "allowed_tools",
    });
  }
}
