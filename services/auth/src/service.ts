import { timestampDate, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import type { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { type AccessToken, type AccessTokenKey, signAccessToken } from "@turnwright/platform/access-token";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity";
import type { Bus } from "@turnwright/platform/ports/bus";
import { publishRevocation } from "@turnwright/platform/revocations";
import { signInternalToken } from "@turnwright/platform/tokens";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import { keyPolicy } from "./api-key-policy.ts";
import type { AuthConfig } from "./config.ts";
import { hashToken, isApiKey, keyPrefix, newApiKey, newRefreshToken } from "./opaque-tokens.ts";
import type { Passwords } from "./passwords.ts";
import type { SigningKeys } from "./signing-keys.ts";
import { insertApiKey, listApiKeys, replaceApiKeySecret, revokeApiKey } from "./store/api-keys.ts";
import { useApiKey, useCredentialById } from "./store/credentials.ts";
import { insertSession, revokeSession, rotateRefreshToken } from "./store/sessions.ts";
import { findUser, findUserByEmail, insertUser } from "./store/users.ts";

const internalTokenMs = 300_000;

/** What the handlers stand on. */
export interface AuthDeps {
  readonly config: AuthConfig;
  readonly pool: pg.Pool;
  readonly bus: Bus;
  readonly passwords: Passwords;
  readonly keys: SigningKeys;
  readonly verifyAccessToken: (token: string) => Promise<AccessToken>;
}

const noSuchKey = () => fail(ErrorReason.NOT_FOUND, "There is no such API key.", { param: "api_key_id" });

/** Registration, login, sessions. */
export function authHandlers(deps: AuthDeps): ServiceImpl<typeof AuthService> {
  const { config, pool, passwords } = deps;
  const accessKey = (): AccessTokenKey => (config.JWT_SECRET === undefined ? deps.keys.current() : { secret: config.JWT_SECRET });
  const issue = async (session: { userId: string; sessionId: string; role: string }) => ({
    accessToken: await signAccessToken(accessKey(), { ...session, expiresAt: Date.now() + config.JWT_ACCESS_TTL }),
    tokenType: "Bearer",
    expiresIn: Math.floor(config.JWT_ACCESS_TTL / 1000),
  });
  const refreshEnd = () => new Date(Date.now() + config.JWT_REFRESH_TTL);

  return {
    async register({ email, password, name }) {
      const passwordHash = await passwords.hash(password);
      return { user: await insertUser(pool, { id: uuidv7(), email: email.toLowerCase(), passwordHash, name }) };
    },

    async login({ email, password }) {
      const found = await findUserByEmail(pool, email.toLowerCase());
      const fits = await passwords.verify(found?.passwordHash, password);
      if (!fits || found === undefined || !found.user.isActive) {
        throw fail(ErrorReason.INVALID_CREDENTIALS, "Email or password is wrong.");
      }
      const { user } = found;
      const sessionId = uuidv7();
      const refreshToken = newRefreshToken();
      await insertSession(pool, {
        id: uuidv7(),
        userId: user.id,
        familyId: sessionId,
        tokenHash: hashToken(refreshToken),
        expiresAt: refreshEnd(),
        perMinute: config.RATE_LIMIT_PER_MINUTE,
        perDay: config.RATE_LIMIT_PER_DAY,
      });
      return { ...(await issue({ userId: user.id, sessionId, role: user.role })), refreshToken, user };
    },

    async refresh({ refreshToken: presented }) {
      const refreshToken = newRefreshToken();
      const session = await rotateRefreshToken(pool, {
        oldHash: hashToken(presented),
        id: uuidv7(),
        newHash: hashToken(refreshToken),
        expiresAt: refreshEnd(),
      });
      if (session === undefined)
        throw fail(ErrorReason.INVALID_REFRESH_TOKEN, "The refresh token is not valid.", { param: "refresh_token" });
      return { ...(await issue(session)), refreshToken };
    },

    async logout(_request, ctx) {
      const identity = requireIdentity(ctx);
      if (identity.tokenType !== TokenType.ACCESS) throw fail(ErrorReason.PERMISSION_DENIED, "An API key has no session to end.");
      await revokeSession(pool, { userId: identity.userId, sessionId: identity.tokenId });
      await publishRevocation(deps.bus, identity.tokenId);
      return {};
    },

    async getCurrentUser(_request, ctx) {
      const user = await findUser(pool, requireIdentity(ctx).userId);
      if (user === undefined) throw fail(ErrorReason.NOT_FOUND, "The account does not exist any more.");
      return { user };
    },
  };
}

/** API keys of the caller. */
export function apiKeyHandlers(deps: AuthDeps): ServiceImpl<typeof ApiKeyService> {
  const { pool, bus } = deps;
  return {
    async createApiKey(request, ctx) {
      const identity = requireIdentity(ctx);
      const policy = keyPolicy(identity, request);
      const key = newApiKey();
      const id = uuidv7();
      const apiKey = await insertApiKey(pool, {
        ...policy,
        id,
        userId: identity.userId,
        familyId: id,
        tokenHash: hashToken(key),
        expiresAt: request.expiresAt === undefined ? null : timestampDate(request.expiresAt),
        name: request.name,
        prefix: keyPrefix(key),
      });
      return { apiKey, key };
    },

    async listApiKeys(_request, ctx) {
      return { apiKeys: await listApiKeys(pool, requireIdentity(ctx).userId) };
    },

    async rotateApiKey({ apiKeyId }, ctx) {
      const { userId } = requireIdentity(ctx);
      const key = newApiKey();
      const apiKey = await replaceApiKeySecret(pool, { id: apiKeyId, userId, tokenHash: hashToken(key), prefix: keyPrefix(key) });
      if (apiKey === undefined) throw noSuchKey();
      await publishRevocation(bus, apiKeyId);
      return { apiKey, key };
    },

    async revokeApiKey({ apiKeyId }, ctx) {
      const apiKey = await revokeApiKey(pool, { id: apiKeyId, userId: requireIdentity(ctx).userId });
      if (apiKey === undefined) throw noSuchKey();
      await publishRevocation(bus, apiKeyId);
      return { apiKey };
    },
  };
}

/** Internal tokens and public keys. */
export function tokenHandlers(deps: AuthDeps): ServiceImpl<typeof TokenService> {
  const mint = async (identity: Identity) => {
    const end = identity.expiresAt === undefined ? Number.POSITIVE_INFINITY : timestampMs(identity.expiresAt);
    const expiresAt = Math.floor(Math.min(Date.now() + internalTokenMs, end) / 1000);
    const internalToken = await signInternalToken(deps.keys.current(), identity, expiresAt);
    return { internalToken, identity, expiresAt: timestampFromMs(expiresAt * 1000) };
  };

  return {
    async exchangeToken({ token }) {
      if (token.startsWith("sk-")) {
        const identity = isApiKey(token) ? await useApiKey(deps.pool, hashToken(token)) : undefined;
        if (identity === undefined) throw fail(ErrorReason.INVALID_TOKEN, "The API key is not valid.");
        return mint(identity);
      }
      const access = await deps.verifyAccessToken(token);
      const identity = await useCredentialById(deps.pool, { userId: access.userId, tokenId: access.sessionId });
      if (identity === undefined) throw fail(ErrorReason.INVALID_TOKEN, "The session has ended.");
      // The caller holds an access token: that one's end counts, not the session's.
      identity.expiresAt = timestampFromMs(access.expiresAt);
      return mint(identity);
    },

    async mintInternalToken({ userId, tokenId }) {
      const identity = await useCredentialById(deps.pool, { userId, tokenId });
      if (identity === undefined) throw fail(ErrorReason.INVALID_TOKEN, "The credential has ended.");
      return mint(identity);
    },

    async getJwks() {
      return { keys: deps.keys.publicKeys().keys as never };
    },
  };
}
