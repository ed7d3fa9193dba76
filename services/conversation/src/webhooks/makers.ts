import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import type { Revocation, TokenService } from "@turnwright/contract/auth/v1/token_service";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { watchRevocations } from "@turnwright/platform/identity/revocations";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import { endWebhooksOf, endWebhooksOfAccounts, listMakers, listOwners, storeExpiry } from "../store/webhook-makers.ts";
import type { MakerKey } from "../store/webhooks.ts";
import type { WebhookWorker } from "./worker.ts";

/** The most keys, and the most accounts, in one request to auth. */
const askedAtOnce = 1_000;
const askTimeoutMs = 5_000;
/** After a check that failed. */
const pauseMs = 500;

/** The API key on which a webhook of this caller depends; undefined: none, because the caller is a login. */
export function makerOf({ tokenType, tokenId, expiresAt }: Identity): MakerKey | undefined {
  if (tokenType === TokenType.ACCESS) return undefined;
  return { id: tokenId, expiresAt: expiresAt === undefined ? null : timestampDate(expiresAt) };
}

/** Disables webhooks when the keys on which they depend end, or their accounts are closed. */
export interface WebhookMakers {
  /**
   * Call this after committing a change that depends on an account and perhaps a key: a revocation before the commit
   * did not find the change. Throws INVALID_TOKEN when the key has ended or the account is closed. When auth does not
   * answer, it resolves, and both are checked as soon as auth answers.
   */
  confirm(userId: string, maker: MakerKey | undefined): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts to follow revocations, and asks auth which of the keys on which webhooks depend are still valid (rotated or
 * changed keys are) and which of their owners' accounts are closed. All are checked at the start and after a gap.
 */
export function watchMakers(deps: {
  pool: pg.Pool;
  tokens: Client<typeof TokenService>;
  worker: Pick<WebhookWorker, "forget">;
  logger: Logger;
  /** Called with each credential that ended or changed. */
  onRevoked?: (told: Revocation) => void;
}): WebhookMakers {
  const { pool, tokens, worker, logger } = deps;
  const closing = new AbortController();
  /** Keys and accounts to check; `isAll`: all of them. */
  const changed = new Set<string>();
  let isAll = true;
  let checking: Promise<void> | undefined;

  /** Disables the webhooks of those keys that have ended. Returns these keys. */
  const endWith = async (apiKeyIds: readonly string[]): Promise<ReadonlySet<string>> => {
    const ended = new Set(apiKeyIds);
    for (let from = 0; from < apiKeyIds.length; from += askedAtOnce) {
      const asked = apiKeyIds.slice(from, from + askedAtOnce);
      const options = { timeoutMs: askTimeoutMs, signal: closing.signal };
      const { apiKeys } = await tokens.checkApiKeys({ apiKeyIds: asked }, options);
      for (const { id } of apiKeys) ended.delete(id);
      const live = apiKeys.map(({ id, expiresAt }) => ({
        id,
        expiresAt: expiresAt === undefined ? null : timestampDate(expiresAt),
      }));
      if (live.length > 0) await storeExpiry(pool, live);
    }
    if (ended.size > 0) {
      const webhooks = await endWebhooksOf(pool, [...ended]);
      // Only now: a delivery released before would be claimed again.
      worker.forget(ended);
      if (webhooks.length > 0) logger.info({ webhook_ids: webhooks }, "webhooks disabled because their API keys have ended");
    }
    return ended;
  };

  /** Disables the webhooks of those accounts that are closed. Returns these accounts. */
  const closeWith = async (userIds: readonly string[]): Promise<ReadonlySet<string>> => {
    const closed = new Set<string>();
    for (let from = 0; from < userIds.length; from += askedAtOnce) {
      const options = { timeoutMs: askTimeoutMs, signal: closing.signal };
      const answer = await tokens.checkApiKeys({ userIds: userIds.slice(from, from + askedAtOnce) }, options);
      for (const id of answer.closedUserIds) closed.add(id);
    }
    if (closed.size > 0) {
      const webhooks = await endWebhooksOfAccounts(pool, [...closed]);
      // Only now, as above.
      worker.forget(closed);
      if (webhooks.length > 0) logger.info({ webhook_ids: webhooks }, "webhooks disabled because their accounts are closed");
    }
    return closed;
  };

  const check = async (): Promise<void> => {
    while (isAll || changed.size > 0) {
      const asked = isAll ? undefined : [...changed];
      isAll = false;
      changed.clear();
      try {
        const [makers, owners] = await Promise.all([listMakers(pool, asked), listOwners(pool, asked)]);
        if (makers.length > 0) await endWith(makers);
        if (owners.length > 0) await closeWith(owners);
      } catch (error) {
        if (asked === undefined) isAll = true;
        else for (const id of asked) changed.add(id);
        throw error;
      }
    }
  };

  const start = (): void => {
    if (closing.signal.aborted || checking !== undefined) return;
    checking = retrying(check, {
      mayPass: () => !closing.signal.aborted,
      patienceMs: Number.POSITIVE_INFINITY,
      firstMs: pauseMs,
      longestMs: pauseMs,
      signal: closing.signal,
      onRetry: (error) => logger.warn({ err: error }, "API keys and accounts of webhooks could not be checked"),
    })
      // Only `close` ends the retries.
      .catch(() => {})
      .finally(() => {
        checking = undefined;
        if (isAll || changed.size > 0) start();
      });
  };

  const watching = watchRevocations(
    { tokens, logger },
    {
      onRevoked(tokenId, told) {
        if (told !== undefined) deps.onRevoked?.(told);
        changed.add(tokenId);
        start();
      },
      onGap() {
        isAll = true;
        start();
      },
    },
  );
  start();

  return {
    async confirm(userId, maker) {
      let hasEnded: boolean;
      try {
        // A live key has an active account.
        const ended = maker === undefined ? await closeWith([userId]) : await endWith([maker.id]);
        hasEnded = ended.size > 0;
      } catch (error) {
        logger.warn({ err: error }, "the API key or account of a webhook could not be checked yet");
        changed.add(maker?.id ?? userId);
        start();
        return;
      }
      if (hasEnded) throw fail(ErrorReason.INVALID_TOKEN, "The credential has ended.");
    },
    async close() {
      closing.abort();
      await (await watching)();
      await checking;
    },
  };
}
