import type { HandlerContext } from "@connectrpc/connect";
import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { AccessTokenVerifier } from "@turnwright/platform/identity/access-token";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { publishRevocation } from "@turnwright/platform/identity/revocations";
import type { Bus } from "@turnwright/platform/ports/bus";
import type { Idempotency } from "@turnwright/platform/postgres/idempotency";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import type pg from "pg";
import type { AuthConfig } from "../config.ts";
import type { RefreshChildren } from "../opaque-tokens.ts";
import type { Passwords } from "../passwords.ts";
import type { SigningKeys } from "../signing-keys.ts";

/** Dependencies of the handlers. */
export interface AuthDeps {
  readonly config: AuthConfig;
  /** For requests that concern no single user, or a user who is not authenticated yet. */
  readonly pool: pg.Pool;
  /** For requests about the caller's own rows. */
  readonly users: UserPool;
  readonly bus: Bus;
  readonly passwords: Passwords;
  readonly keys: SigningKeys;
  readonly refreshChildren: RefreshChildren;
  readonly idempotency: Idempotency;
  readonly accessTokens: AccessTokenVerifier;
}

/** Topic on which replicas of auth announce that the signing keys have changed. */
export const signingKeysTopic = "auth.signing_keys";

/**
 * Announces ended credentials to all processes at once. A process that misses the message reads it from the database
 * within a second.
 */
export async function announce(bus: Bus, tokenIds: readonly string[]): Promise<void> {
  await Promise.all(tokenIds.map((tokenId) => publishRevocation(bus, tokenId)));
}

/** The caller, who must be logged in: API keys are stored in programs and may not manage the account. */
export function requireSession(ctx: HandlerContext): Identity {
  const identity = requireIdentity(ctx);
  if (identity.tokenType === TokenType.ACCESS) return identity;
  throw fail(ErrorReason.PERMISSION_DENIED, "This call needs a login: an API key may not manage the account.");
}
