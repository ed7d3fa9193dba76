import { timestampFromDate, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { signInternalToken } from "@turnwright/platform/identity/internal-token";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { transaction } from "@turnwright/platform/postgres/pool";
import { accountDefaults } from "../config.ts";
import { holdAdmin } from "../held-caller.ts";
import { hashToken, isApiKey } from "../opaque-tokens.ts";
import { listLiveApiKeys } from "../store/api-keys.ts";
import { nameCredentials } from "../store/credential-names.ts";
import { useApiKey, useCredentialById } from "../store/credentials.ts";
import { isExpiredKey, whyEnded } from "../store/ended-credentials.ts";
import { listRevocations } from "../store/revocations.ts";
import { listSigningKeys } from "../store/signing-keys.ts";
import { listClosedAccounts } from "../store/users.ts";
import { type AuthDeps, requireSession, signingKeysTopic } from "./deps.ts";

const internalTokenMs = 300_000;
const maxListedKeys = 100;

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const isUuid = (text: string): boolean => uuidShape.test(text);

/** Handlers for internal tokens, public keys and recent revocations. */
export function tokenHandlers(deps: AuthDeps): ServiceImpl<typeof TokenService> {
  const { pool, keys, bus } = deps;
  const defaults = accountDefaults(deps.config);
  const mint = async (identity: Identity) => {
    const end = identity.expiresAt === undefined ? Number.POSITIVE_INFINITY : timestampMs(identity.expiresAt);
    const now = Date.now();
    const expiresAt = Math.floor(Math.min(now + internalTokenMs, end) / 1000);
    // The gateway, which counts requests, reads the limits in the response; other services need only the lowest
    // ceiling.
    const internalToken = await signInternalToken(keys.current(), { ...identity, sharedLimits: [] }, expiresAt);
    return {
      internalToken,
      identity,
      expiresAt: timestampFromMs(expiresAt * 1000),
      expiresIn: Math.max(0, Math.floor(expiresAt - now / 1000)),
    };
  };
  const keyIds = () => keys.publicKeys().keys.map((key) => key.kid ?? "");

  return {
    async exchangeToken({ token }) {
      if (token.startsWith("sk-")) {
        const hash = isApiKey(token) ? hashToken(token) : undefined;
        const identity = hash && (await useApiKey(pool, hash, defaults));
        if (identity !== undefined) return mint(identity);
        if (hash !== undefined && (await isExpiredKey(pool, hash)))
          throw fail(ErrorReason.TOKEN_EXPIRED, "The API key has expired; create a new one.");
        throw fail(ErrorReason.INVALID_TOKEN, "The API key is not valid.");
      }
      const access = await deps.accessTokens.verify(token);
      // The token is signed by auth or by another holder of JWT_SECRET; the ids may still not be UUIDs, which the
      // database would report as an error.
      if (!isUuid(access.userId) || !isUuid(access.sessionId)) throw fail(ErrorReason.INVALID_TOKEN, "The session has ended.");
      const identity = await useCredentialById(pool, { userId: access.userId, tokenId: access.sessionId }, defaults);
      if (identity === undefined) throw fail(ErrorReason.INVALID_TOKEN, "The session has ended.");
      // The expiry is that of the access token, not of the session.
      identity.expiresAt = timestampFromMs(access.expiresAt);
      return mint(identity);
    },

    async mintInternalToken({ userId, tokenId }) {
      const identity = await useCredentialById(pool, { userId, tokenId }, defaults);
      if (identity === undefined) throw fail(ErrorReason.RUN_CREDENTIAL_ENDED, await whyEnded(pool, { userId, tokenId }));
      return mint(identity);
    },

    async checkApiKeys({ apiKeyIds, userIds }) {
      const [live, closedUserIds] = await Promise.all([
        apiKeyIds.length > 0 ? listLiveApiKeys(pool, apiKeyIds) : [],
        userIds.length > 0 ? listClosedAccounts(pool, userIds) : [],
      ]);
      return {
        closedUserIds,
        apiKeys: live.map(({ id, expiresAt }) => ({
          id,
          expiresAt: expiresAt === null ? undefined : timestampFromDate(expiresAt),
        })),
      };
    },

    async nameCredentials({ userId, tokenIds }) {
      return await nameCredentials(pool, { userId, tokenIds });
    },

    async listRevocations({ seconds }) {
      return { revocations: await listRevocations(pool, seconds), keyIds: keyIds() };
    },

    async listSigningKeys() {
      const signing = keys.current().kid;
      const known = await listSigningKeys(pool, maxListedKeys);
      return {
        signingKeys: known.map(({ kid, algorithm, createdAt, retiredAt }) => ({
          keyId: kid,
          algorithm,
          createdAt: timestampFromDate(createdAt),
          retiredAt: retiredAt === null ? undefined : timestampFromDate(retiredAt),
          state: retiredAt !== null ? "retired" : kid === signing ? "signing" : "verifying",
        })),
      };
    },

    async rotateSigningKey({ retirePrevious }, ctx) {
      requireSession(ctx);
      await transaction(pool, (tx) => holdAdmin(tx, ctx));
      await keys.rotate({ retirePrevious });
      await bus.publish(signingKeysTopic, "");
      const [keyId = ""] = keyIds();
      const details = { retire_previous: retirePrevious };
      await appendAudit(pool, ctx, { action: "signing_key.rotated", outcome: "success", subject: keyId, details });
      return { keyId, keyIds: keyIds() };
    },

    async getJwks() {
      return { keys: keys.publicKeys().keys as never };
    },
  };
}
