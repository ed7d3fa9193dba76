import type { ServiceImpl } from "@connectrpc/connect";
import type { SpendService, UsageRecord } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { transaction } from "@turnwright/platform/postgres/pool";
import { accountDefaults } from "../config.ts";
import { reserveSpend, settleReservation } from "../store/spend.ts";
import { recordUsage, type Usage } from "../store/usage.ts";
import type { AuthDeps } from "./deps.ts";

/** The largest count of one record. A larger one is a mistake, and thousands of them still fit the column. */
const maxCount = 1e15;

/** A count of a record, within what the sums can hold. */
function countOf(count: bigint | number): number {
  return Math.min(maxCount, Math.max(0, Math.trunc(Number(count)) || 0));
}

function usageOf(record: UsageRecord): Usage {
  return {
    userId: record.userId,
    tokenId: record.tokenId,
    model: record.model.replaceAll("\0", ""),
    requests: countOf(record.requests),
    promptTokens: countOf(record.promptTokens),
    completionTokens: countOf(record.completionTokens),
    costMicros: countOf(record.costMicros),
    estimatedTokens: countOf(record.estimatedTokens),
    unpricedRequests: countOf(record.unpricedRequests),
  };
}

/** Handlers for spend ceilings and usage records; only the orchestrator calls them. */
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
