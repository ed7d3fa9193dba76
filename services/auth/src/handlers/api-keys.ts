import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { type ApiKey, type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import { type Tx, transaction } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import { changedPolicy, type KeyPolicy, keyPolicy } from "../api-key-policy.ts";
import { accountDefaults } from "../config.ts";
import { holdCaller, holdMaker, retryingDeadlocks } from "../held-caller.ts";
import { hashToken, keyPrefix, newApiKey } from "../opaque-tokens.ts";
import { holdAccount } from "../store/accounts.ts";
import {
  countLine,
  findApiKey,
  findKeyInLine,
  insertApiKey,
  type KeyScope,
  listApiKeys,
  replaceApiKeySecret,
  revokeApiKey,
  revokeCreatedKeys,
  updateApiKey,
} from "../store/api-keys.ts";
import { type AuthDeps, announce } from "./deps.ts";

const noSuchKey = () => fail(ErrorReason.NOT_FOUND, "There is no such API key.", { param: "api_key_id" });

/** The most keys in a line of descent. A request counts against the limits of all of them. */
const longestLine = 8;

const lineTooLong = () =>
  fail(
    ErrorReason.PERMISSION_DENIED,
    `This key is the ${longestLine}th of its line and cannot create keys; create them with one from which it descends.`,
  );

/** An API key manages itself and its descendants only: another key of the owner may allow more than it does. */
function scopeOf({ userId, tokenId, tokenType }: Identity): KeyScope {
  return { userId, throughKey: tokenType === TokenType.API_KEY ? tokenId : undefined };
}

/** All that a key allows, to compare. */
function rightsOf(key: ApiKey): string {
  const { allowedTools, allowedModels, scopes, mayApprove, rateLimitPerMinute, rateLimitPerDay, maxConcurrent } = key;
  const end = key.expiresAt === undefined ? null : timestampMs(key.expiresAt);
  const limits = [rateLimitPerMinute, rateLimitPerDay, maxConcurrent, key.spendLimitUsd ?? null];
  return JSON.stringify([allowedTools, allowedModels, scopes, mayApprove, end, limits]);
}

async function noteRevoked(tx: Tx, ctx: HandlerContext, ended: readonly string[]): Promise<void> {
  for (const subject of ended) await appendAudit(tx, ctx, { action: "api_key.revoked", outcome: "success", subject });
}

/** Handlers for the caller's API keys. */
export function apiKeyHandlers({ config, pool, users, bus, idempotency }: AuthDeps): ServiceImpl<typeof ApiKeyService> {
  const defaults = accountDefaults(config);
  return {
    async createApiKey(request, ctx) {
      const { userId } = requireIdentity(ctx);
      let policy: KeyPolicy;
      const { response } = await idempotency.once(ctx, request, {
        transaction: (work) =>
          retryingDeadlocks(() =>
            transaction(pool, async (tx) => {
              policy = keyPolicy(await holdMaker(tx, ctx, defaults), request, {
                perMinute: config.RATE_LIMIT_PER_MINUTE,
              });
              return work(tx);
            }),
          ),
        async act(tx) {
          const { parentId } = policy;
          if (parentId !== undefined && (await countLine(tx, parentId)) >= longestLine) throw lineTooLong();
          const key = newApiKey();
          const id = uuidv7();
          const { name } = request;
          const apiKey = await insertApiKey(tx, {
            ...policy,
            id,
            userId,
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

    async listApiKeys({ limit = 1_000, cursor }, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const after = decodeCursor(cursor);
      const { apiKeys, next } = await users.as(scope.userId, (db) => listApiKeys(db, scope, { after, limit }));
      return { apiKeys, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },

    async getApiKey({ apiKeyId }, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const apiKey = await users.as(scope.userId, (db) => findApiKey(db, scope, apiKeyId));
      if (apiKey === undefined) throw noSuchKey();
      return { apiKey };
    },

    async updateApiKey(request, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const { apiKeyId } = request;
      const { apiKey, isChanged } = await retryingDeadlocks(() =>
        transaction(pool, async (tx) => {
          const caller = await holdMaker(tx, ctx, defaults, "alone");
          const line = await findKeyInLine(tx, scope, apiKeyId);
          if (line === undefined) throw noSuchKey();
          const change = changedPolicy(caller, line, request);
          const apiKey = await updateApiKey(tx, scope.userId, apiKeyId, change);
          const isChanged = rightsOf(apiKey) !== rightsOf(line.key);
          const details = { name: change.name, rights_changed: isChanged };
          await appendAudit(tx, ctx, { action: "api_key.updated", outcome: "success", subject: apiKeyId, details });
          return { apiKey, isChanged };
        }),
      );
      // Other processes keep the rights of keys in use.
      if (isChanged) await announce(bus, [apiKeyId]);
      return { apiKey };
    },

    async rotateApiKey(request, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const { apiKeyId, revokeCreated } = request;
      let ended: string[] = [];
      const { response, replayed } = await idempotency.once(ctx, request, {
        transaction: (work) =>
          retryingDeadlocks(() =>
            users.transaction(scope.userId, async (tx) => {
              await holdCaller(tx, ctx, "alone");
              return work(tx);
            }),
          ),
        async act(tx) {
          const key = newApiKey();
          const secret = { id: apiKeyId, tokenHash: hashToken(key), prefix: keyPrefix(key) };
          const apiKey = await replaceApiKeySecret(tx, scope, secret);
          if (apiKey === undefined) throw noSuchKey();
          await appendAudit(tx, ctx, { action: "api_key.rotated", outcome: "success", subject: apiKeyId });
          ended = revokeCreated ? await revokeCreatedKeys(tx, scope.userId, apiKeyId) : [];
          await noteRevoked(tx, ctx, ended);
          return { apiKey, key };
        },
      });
      // A repeated announcement would end the runs that the new secret has started since.
      if (!replayed) await announce(bus, [apiKeyId, ...ended]);
      return response;
    },

    async revokeApiKey({ apiKeyId }, ctx) {
      const scope = scopeOf(requireIdentity(ctx));
      const { apiKey, ended } = await retryingDeadlocks(() =>
        users.transaction(scope.userId, async (tx) => {
          await holdAccount(tx, scope.userId, "alone");
          const revoked = await revokeApiKey(tx, scope, apiKeyId);
          if (revoked === undefined) throw noSuchKey();
          await noteRevoked(tx, ctx, revoked.ended);
          return revoked;
        }),
      );
      await announce(bus, ended);
      return { apiKey };
    },
  };
}
