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
import type { RefreshChild } from "../opaque-tokens.ts";
import type { Passwords } from "../passwords.ts";
import type { SigningKeys } from "../signing-keys.ts";

/** What the handlers stand on. */
export interface AuthDeps {
  readonly config: AuthConfig;
  /** For what concerns no single user, or one who has yet to show who they are. */
  readonly pool: pg.Pool;
  /** For what a caller asks of their own. */
  readonly users: UserPool;
  readonly bus: Bus;
  readonly passwords: Passwords;
  readonly keys: SigningKeys;
  readonly refreshChild: RefreshChild;
  readonly idempotency: Idempotency;
  readonly accessTokens: AccessTokenVerifier;
}

/** Tells the other replicas of auth that the signing keys have changed. */
export const signingKeysTopic = "auth.signing_keys";

/** Tells everybody at once of credentials that ended; who misses it reads it from the database within a second. */
export async function announce(bus: Bus, tokenIds: readonly string[]): Promise<void> {
  await Promise.all(tokenIds.map((tokenId) => publishRevocation(bus, tokenId)));
}

/** The caller, who must have logged in: what concerns the account itself is not for keys that lie about in programs. */
export function requireSession(ctx: HandlerContext): Identity {
  const identity = requireIdentity(ctx);
  if (identity.tokenType === TokenType.ACCESS) return identity;
  throw fail(ErrorReason.PERMISSION_DENIED, "This call needs a login: an API key may not manage the account.");
}
