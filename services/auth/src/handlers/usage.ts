import type { ServiceImpl } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { SpendService, UsageRecord, UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { transaction } from "@turnwright/platform/postgres/pool";
import { accountDefaults } from "../config.ts";
import { listUsage, recordUsage, reserveSpend, settleReservation, type Usage } from "../store/spend.ts";
import type { AuthDeps } from "./deps.ts";

function dayOf(text: string, param: string): string | undefined {
  if (text === "") return undefined;
  const date = new Date(`${text}T00:00:00Z`);
  // PostgreSQL knows no year 0.
  if (!Number.isNaN(date.getTime()) && date.toISOString().startsWith(text) && date.getUTCFullYear() > 0) return text;
  throw fail(ErrorReason.INVALID_REQUEST, `${param}: there is no day ${text}`, { param });
}

/** What the caller's tokens used. */
export function usageHandlers({ users }: Pick<AuthDeps, "users">): ServiceImpl<typeof UsageService> {
  return {
    async getUsage({ start, end }, ctx) {
      const { userId, tokenId, tokenType } = requireIdentity(ctx);
      const query = {
        userId,
        tokenId: tokenType === TokenType.API_KEY ? tokenId : undefined,
        start: dayOf(start, "start"),
        end: dayOf(end, "end"),
      };
      const rows = await users.as(userId, (db) => listUsage(db, query));
      const total = { requests: 0n, promptTokens: 0n, completionTokens: 0n, estimatedTokens: 0n, costUsd: 0 };
      let micros = 0;
      const usage = rows.map(({ requests, promptTokens, completionTokens, estimatedTokens, costMicros, ...row }) => {
        const counts = {
          requests: BigInt(requests),
          promptTokens: BigInt(promptTokens),
          completionTokens: BigInt(completionTokens),
          estimatedTokens: BigInt(estimatedTokens),
        };
        total.requests += counts.requests;
        total.promptTokens += counts.promptTokens;
        total.completionTokens += counts.completionTokens;
        total.estimatedTokens += counts.estimatedTokens;
        micros += costMicros;
        return { ...row, ...counts, costUsd: costMicros / 1e6 };
      });
      return { usage, total: { ...total, costUsd: micros / 1e6 } };
    },
  };
}

function usageOf(record: UsageRecord): Usage {
  return {
    userId: record.userId,
    tokenId: record.tokenId,
    model: record.model.replaceAll("\0", ""),
    requests: Number(record.requests),
    promptTokens: Number(record.promptTokens),
    completionTokens: Number(record.completionTokens),
    costMicros: Number(record.costMicros),
    estimatedTokens: Number(record.estimatedTokens),
  };
}

/** Ceilings and the record of usage, for the orchestrator. */
export function spendHandlers({ pool, config }: Pick<AuthDeps, "pool" | "config">): ServiceImpl<typeof SpendService> {
  return {
    async reserveSpend({ reservationId: id, amountMicros, ttlSeconds }, ctx) {
      const { userId, tokenId } = requireIdentity(ctx);
      const { spendMicros: accountMicros } = accountDefaults(config);
      const reservation = { id, userId, tokenId, amountMicros: Number(amountMicros), ttlSeconds, accountMicros };
      const granted = await reserveSpend(pool, reservation);
      if (granted === undefined) throw fail(ErrorReason.INVALID_TOKEN, "The key has ended or has no ceiling.");
      if (granted === 0) {
        throw fail(ErrorReason.SPEND_LIMIT, "The spend ceiling of this key, of one above it or of its account is reached.");
      }
      return { grantedMicros: BigInt(granted) };
    },

    async settleSpend({ reservationId: id, usage }) {
      if (usage === undefined) throw fail(ErrorReason.INVALID_REQUEST, "usage: is required", { param: "usage" });
      const record = usageOf(usage);
      await transaction(pool, async (tx) => {
        const settled = await settleReservation(tx, { id, tokenId: record.tokenId, costMicros: record.costMicros });
        if (settled) await recordUsage(tx, [record]);
      });
      return {};
    },

    async recordUsage({ records }) {
      await recordUsage(pool, records.map(usageOf));
      return {};
    },
  };
}
