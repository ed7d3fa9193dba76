import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client, ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { Secrets } from "@turnwright/platform/config/secrets";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { createAccessTokenVerifier } from "@turnwright/platform/identity/access-token";
import { TokenCache } from "@turnwright/platform/identity/token-cache";

/** An authenticated caller. */
export interface Caller {
  /** Sent to the services. */
  readonly internalToken: string;
  readonly identity: Identity;
}

/** Authenticates public requests by their Authorization header. */
export interface Authenticator {
  /** The caller; synchronous for a credential seen before. Throws UNAUTHENTICATED, INVALID_TOKEN or TOKEN_EXPIRED. */
  authenticate(authorization: string | undefined): Caller | Promise<Caller>;
  /** Whether the caller's credential has ended since it was checked. */
  hasEnded(caller: Caller): boolean;
  /** Drops everything cached for a credential. */
  revoke(tokenId: string): void;
  /** Drops the whole cache, including auth's keys: revocations may have been missed, or the keys have changed. */
  forget(): void;
}

const apiKeyShape = /^sk-[A-Za-z0-9_-]{20,200}$/;
const rejectedMs = 2_000;
/** Maximum number of revocations remembered during exchanges; beyond it, every exchange counts as overtaken. */
const maxRemembered = 10_000;

function bearerOf(authorization: string | undefined): string {
  if (authorization === undefined || authorization === "") {
    throw fail(ErrorReason.UNAUTHENTICATED, "The Authorization header is missing; send `Authorization: Bearer <token>`.");
  }
  // Twice where a form adds the word to a token that was pasted with it.
  const token = /^Bearer (?:Bearer )?([^\s]+)$/i.exec(authorization)?.[1];
  if (token === undefined || token.length > 8192)
    throw fail(ErrorReason.INVALID_TOKEN, "The Authorization header is not `Bearer <token>`.");
  return token;
}

/**
 * Creates the bearer check. The signature of an access token is verified locally, without an RPC. A genuine credential
 * is exchanged once for an internal token, which is cached until it expires or is revoked; auth judges whether the
 * credential has expired. Concurrent first uses share one exchange.
 */
export function createAuthenticator(deps: { tokens: Client<typeof TokenService>; jwtSecrets?: Secrets }): Authenticator {
  const callers = new TokenCache<Caller>();
  /** The refusals of API keys by auth. */
  const rejected = new TokenCache<{ reason: ErrorReason; message: string }>(1_000);
  const pending = new Map<string, Promise<Caller>>();
  /** Callers whose credential ended while their request was arriving. */
  const ended = new WeakSet<Caller>();
  /** Number of revocations so far; tells an exchange which of them came after it began. */
  let count = 0;
  /** The count when the cache was last dropped. */
  let forgottenAt = 0;
  let underWay = 0;
  /** The count at each credential's last revocation, while exchanges are in flight. */
  const revokedAt = new Map<string, number>();
  const isOvertaken = (tokenId: string, begun: number) => forgottenAt > begun || (revokedAt.get(tokenId) ?? 0) > begun;
  const accessTokens = createAccessTokenVerifier({
    keys: async () => ({ keys: (await deps.tokens.getJwks({}, { timeoutMs: 5_000 })).keys as never }),
    secrets: deps.jwtSecrets,
    // This clock may be wrong; the exchange that follows ends with an expired token.
    expiry: "issuer",
  });

  const exchange = async (token: string, attempts = 3): Promise<Caller> => {
    const refusal = rejected.get(token);
    if (refusal !== undefined) throw fail(refusal.reason, refusal.message);
    const isApiKey = token.startsWith("sk-");
    if (isApiKey && !apiKeyShape.test(token)) throw fail(ErrorReason.INVALID_TOKEN, "The API key is not valid.");
    if (!isApiKey) await accessTokens.verify(token);
    const begun = count;
    try {
      const { internalToken, identity, expiresAt, expiresIn } = await deps.tokens.exchangeToken({ token }, { timeoutMs: 5_000 });
      if (identity === undefined || expiresAt === undefined)
        throw fail(ErrorReason.INTERNAL, "auth answered without an identity");
      const caller = { internalToken, identity };
      if (isOvertaken(identity.tokenId, begun)) {
        // The answer may predate the revocation; another exchange reflects it.
        if (attempts > 1) return await exchange(token, attempts - 1);
        throw fail(ErrorReason.UNAVAILABLE, "The credential keeps changing; try again.");
      }
      // One minute early, so that it does not expire while a run is on its way through the mesh.
      const lifetimeMs = expiresIn > 0 ? expiresIn * 1000 : timestampMs(expiresAt) - Date.now();
      callers.set(token, caller, lifetimeMs - 60_000);
      return caller;
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === ErrorReason.INVALID_TOKEN || reason === ErrorReason.TOKEN_EXPIRED) {
        rejected.set(token, { reason, message: (error as ConnectError).rawMessage }, rejectedMs);
      }
      throw error;
    }
  };

  const end = (matches: (caller: Caller) => boolean) =>
    callers.deleteWhere((caller) => {
      if (!matches(caller)) return false;
      ended.add(caller);
      return true;
    });

  return {
    authenticate(authorization) {
      const token = bearerOf(authorization);
      const known = callers.get(token);
      if (known !== undefined) return known;
      let work = pending.get(token);
      if (work === undefined) {
        underWay += 1;
        const own = exchange(token).finally(() => {
          pending.delete(token);
          underWay -= 1;
          if (underWay === 0) revokedAt.clear();
        });
        work = own;
        pending.set(token, own);
      }
      return work;
    },
    hasEnded: (caller) => ended.has(caller),
    revoke(tokenId) {
      count += 1;
      if (underWay > 0) revokedAt.set(tokenId, count);
      if (revokedAt.size > maxRemembered) {
        revokedAt.clear();
        forgottenAt = count;
      }
      end((caller) => caller.identity.tokenId === tokenId);
    },
    forget() {
      count += 1;
      forgottenAt = count;
      accessTokens.forgetKeys();
      end(() => true);
    },
  };
}
