import type { ServiceImpl } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { listUsage, ownGroups } from "../store/usage.ts";
import { absent, reportUsage, type UsageSums, usageGroups } from "../store/usage-report.ts";
import { decodeUsageCursor, encodeUsageCursor } from "../usage-cursor.ts";
import type { AuthDeps } from "./deps.ts";

const dayMs = 86_400_000;
/** The most days of a report on all users, the first and the last included. */
const mostDays = 366;

function dayOf(text: string, param: string): string | undefined {
  if (text === "") return undefined;
  const date = new Date(`${text}T00:00:00Z`);
  // PostgreSQL has no year 0.
  if (!Number.isNaN(date.getTime()) && date.toISOString().startsWith(text) && date.getUTCFullYear() > 0) return text;
  throw fail(ErrorReason.INVALID_REQUEST, `${param}: there is no day ${text}`, { param });
}

const textOfDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** The days of a report on all users; unset: the 31 days up to the last one, which is today unless given. */
function daysOf(request: { start: string; end: string }): { start: string; end: string } {
  const end = dayOf(request.end, "end") ?? textOfDay(Date.now());
  const start = dayOf(request.start, "start") ?? textOfDay(Date.parse(end) - 30 * dayMs);
  if ((Date.parse(end) - Date.parse(start)) / dayMs < mostDays) return { start, end };
  const words = `start: is ${mostDays} days or more before end; ask for ${mostDays} days at most`;
  throw fail(ErrorReason.INVALID_REQUEST, words, { param: "start" });
}

function countsOf({ requests, promptTokens, completionTokens, estimatedTokens, costMicros, unpricedRequests }: UsageSums) {
  return {
    requests: BigInt(requests),
    promptTokens: BigInt(promptTokens),
    completionTokens: BigInt(completionTokens),
    estimatedTokens: BigInt(estimatedTokens),
    costUsd: costMicros / 1e6,
    priced: unpricedRequests === 0,
  };
}

/** Handlers for usage: of the caller's own tokens, and of all users for admins. */
export function usageHandlers({ pool, users }: Pick<AuthDeps, "pool" | "users">): ServiceImpl<typeof UsageService> {
  return {
    async getUsage({ start, end, groupBy }, ctx) {
      const { userId, tokenId, tokenType } = requireIdentity(ctx);
      const query = {
        userId,
        tokenId: tokenType === TokenType.API_KEY ? tokenId : undefined,
        start: dayOf(start, "start"),
        end: dayOf(end, "end"),
        groupBy: ownGroups.filter((name) => groupBy.length === 0 || groupBy.includes(name)),
      };
      const rows = await users.as(userId, (db) => listUsage(db, query));
      const total = { requests: 0n, promptTokens: 0n, completionTokens: 0n, estimatedTokens: 0n };
      let micros = 0;
      let priced = true;
      const usage = rows.map(({ day, tokenId, keyName, model, ...sums }) => {
        const counts = countsOf(sums);
        total.requests += counts.requests;
        total.promptTokens += counts.promptTokens;
        total.completionTokens += counts.completionTokens;
        total.estimatedTokens += counts.estimatedTokens;
        micros += sums.costMicros;
        priced &&= counts.priced;
        return { day, tokenId, keyName, model, ...counts };
      });
      return { usage, total: { ...total, costUsd: micros / 1e6, priced } };
    },

    async listAllUsage(request) {
      const { userId, limit = 200, cursor } = request;
      const isGrouped = (name: string) => (request.groupBy.length === 0 ? name !== "credential" : request.groupBy.includes(name));
      // In one order, so that a cursor fits whatever the order of the request.
      const groupBy = usageGroups.filter(isGrouped);
      const after = decodeUsageCursor(groupBy, cursor);
      const report = await reportUsage(pool, { ...daysOf(request), userId, groupBy, after, limit });
      const usage = report.rows.map(({ day, userId, model, tokenId, keyName, ...sums }) => ({
        day: isGrouped("day") ? day : "",
        userId: userId === absent.userId ? "" : userId,
        model,
        tokenId: tokenId === absent.tokenId ? "" : tokenId,
        keyName,
        ...countsOf(sums),
      }));
      const nextCursor = report.next === undefined ? "" : encodeUsageCursor(groupBy, report.next);
      return { usage, total: countsOf(report.total), nextCursor };
    },
  };
}
