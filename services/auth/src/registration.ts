import type { RegisterRequest } from "@turnwright/contract/auth/v1/auth_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable, Tx } from "@turnwright/platform/postgres/pool";
import type { AuthConfig } from "./config.ts";
import { hashToken } from "./opaque-tokens.ts";
import { holdAccount } from "./store/accounts.ts";
import { findOpenInvite, isInvite, type OpenInvite, useInvite } from "./store/invites.ts";

/** How people may register: freely, with an invite, or not at all. */
type RegistrationMode = AuthConfig["REGISTRATION"];

const invalidInvite = () =>
  fail(ErrorReason.INVALID_INVITE, "invite: is unknown, used, revoked, expired or for another address", { param: "invite" });

/** Refuses registrations that the mode excludes. Throws REGISTRATION_CLOSED. */
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
 * Checks that a registration's invite, if any, exists, before its password costs a hash. A used one passes: this may be
 * the repetition of the request that used it. Throws INVALID_INVITE.
 */
export async function checkInvite(db: Queryable, { invite }: Pick<RegisterRequest, "invite">): Promise<void> {
  if (invite !== "" && !(await isInvite(db, hashToken(invite)))) throw invalidInvite();
}

/**
 * Finds a registration's invite, if any, and locks the account of the admin who created it, because an admin who loses
 * that role loses the invites too. Throws INVALID_INVITE.
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

/** Uses up a locked invite for an account. Throws INVALID_INVITE. */
export async function redeemInvite(tx: Tx, invite: OpenInvite, userId: string): Promise<void> {
  if (!(await useInvite(tx, invite, userId))) throw invalidInvite();
}
