import type { RegisterRequest } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable, Tx } from "@turnwright/platform/postgres/pool";
import type { AuthConfig } from "./config.ts";
import { hashToken } from "./opaque-tokens.ts";
import { holdAccount } from "./store/accounts.ts";
import { findOpenInvite, isInvite, type OpenInvite, useInvite } from "./store/invites.ts";

/** Whether people may register: all, those with an invite, or nobody. */
type RegistrationMode = AuthConfig["REGISTRATION"];

const invalidInvite = () =>
  fail(ErrorReason.INVALID_INVITE, "invite: is unknown, used, revoked, has ended or is for another address", { param: "invite" });

/** Refuses who may not register whatever they send. Throws REGISTRATION_CLOSED. */
export function checkRegistration(mode: RegistrationMode, { invite }: Pick<RegisterRequest, "invite">): void {
  switch (mode) {
    case "open":
      return;
    case "invite":
      if (invite !== "") return;
      throw fail(ErrorReason.REGISTRATION_CLOSED, "Registration needs an invite; ask an admin for one.", { param: "invite" });
    case "closed":
      throw fail(ErrorReason.REGISTRATION_CLOSED, "Registration is closed; ask an admin for an account.");
    default:
      throw mode satisfies never;
  }
}

/**
 * Looks whether the invite of a registration, if it has one, is any: before its password costs anything. One that is
 * used passes, for this may be the request that has used it, sent again. Throws INVALID_INVITE.
 */
export async function checkInvite(db: Queryable, { invite }: Pick<RegisterRequest, "invite">): Promise<void> {
  if (invite !== "" && !(await isInvite(db, hashToken(invite)))) throw invalidInvite();
}

/**
 * Holds the maker of a registration's invite, if it has one, for an admin who loses that power loses the invite with
 * it. Throws INVALID_INVITE.
 */
export async function holdInvite(
  tx: Tx,
  { invite, email }: Pick<RegisterRequest, "invite" | "email">,
): Promise<OpenInvite | undefined> {
  if (invite === "") return undefined;
  const found = await findOpenInvite(tx, { secretHash: hashToken(invite), email: email.toLowerCase() });
  if (found === undefined) throw invalidInvite();
  await holdAccount(tx, found.createdBy, "shared");
  return found;
}

/** Uses a held invite up for an account. Throws INVALID_INVITE. */
export async function redeemInvite(tx: Tx, invite: OpenInvite, userId: string): Promise<void> {
  if (!(await useInvite(tx, invite, userId))) throw invalidInvite();
}
