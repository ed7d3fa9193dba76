import type { ServiceImpl } from "@connectrpc/connect";
import type { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import { appendAudit } from "@turnwright/platform/audit-log";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity";
import { transaction } from "@turnwright/platform/postgres";
import { uuidv7 } from "@turnwright/platform/uuid";
import { keyPolicy } from "../api-key-policy.ts";
import { hashToken, keyPrefix, newApiKey } from "../opaque-tokens.ts";
import { countLine, insertApiKey, type KeyScope, listApiKeys, replaceApiKeySecret, revokeApiKey } from "../store/api-keys.ts";
import { type AuthDeps, announce } from "./deps.ts";

const noSuchKey = () => fail(ErrorReason.NOT_FOUND, "There is no such API key.", { param: "api_key_id" });

/** Keys that may descend from each other: a request counts against the limits of all of them. */
const longestLine = 8;

const lineTooLong = () =>
  fail(
    ErrorReason.PERMISSION_DENIED,
    `This key is the ${longestLine}th of its line and cannot create keys; create them with one from which it descends.`,
  );

/** A key manages itself and what it created: another key of its owner may allow more than it does. */
function scopeOf({ userId, tokenId, tokenType }: Identity): KeyScope {
  return { userId, throughKey: tokenType === TokenType.API_KEY ? tokenId : undefined };
}

/** API keys of the caller. */
export function apiKeyHandlers({ pool, users, bus, idempotency }: AuthDeps): ServiceImpl<typeof ApiKeyService> {
  return {
    async createApiKey(request, ctx) {
      const identity = requireIdentity(ctx);
      const policy = keyPolicy(identity, request);
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) => transaction(pool, work),
        async act(tx) {
          const { parentId } = policy;
          if (parentId !== undefined && (await countLine(tx, parentId)) >= longestLine) throw lineTooLong();
          const key = newApiKey();
          const id = uuidv7();
          const { name } = request;
          const apiKey = await insertApiKey(tx, {
            ...policy,
            id,
            userId: identity.userId,
            familyId: id,
            tokenHash: hashToken(key),
            name,
            prefix: keyPrefix(key),
          });
          const { allowedTools, allowedModels, scopes, mayApprove } = policy;
          const details = {
            name,
            allowed_tools: allowedTools,
            allowed_models: allowedModels,
            scopes,
            may_approve: mayApprove,
          };
          await appendAudit(tx, ctx, { action: "api_key.created", outcome: "success", subject: id, details });
          return { apiKey, key };
        },
      });
      return response;
    },

    async listApiKeys(_request, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      return { apiKeys: await users.as(scope.userId, (db) => listApiKeys(db, scope)) };
    },

    async rotateApiKey(request, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const { apiKeyId } = request;
      const { response, replayed } = await idempotency.once(ctx, request, {
        transaction: (work) => users.transaction(scope.userId, work),
        async act(tx) {
          const key = newApiKey();
          const secret = { id: apiKeyId, tokenHash: hashToken(key), prefix: keyPrefix(key) };
          const apiKey = await replaceApiKeySecret(tx, scope, secret);
          if (apiKey === undefined) throw noSuchKey();
          await appendAudit(tx, ctx, { action: "api_key.rotated", outcome: "success", subject: apiKeyId });
          return { apiKey, key };
        },
      });
      // Said again, it would end what the new key has begun since.
      if (!replayed) await announce(bus, [apiKeyId]);
      return response;
    },

    async revokeApiKey({ apiKeyId }, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const { apiKey, ended } = await users.transaction(scope.userId, async (tx) => {
        const revoked = await revokeApiKey(tx, scope, apiKeyId);
        if (revoked === undefined) throw noSuchKey();
        for (const subject of revoked.ended) {
          await appendAudit(tx, ctx, { action: "api_key.revoked", outcome: "success", subject });
        }
        return revoked;
      });
      await announce(bus, ended);
      return { apiKey };
    },
  };
}
