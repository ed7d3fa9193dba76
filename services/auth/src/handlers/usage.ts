import type { ServiceImpl } from "@connectrpc/connect";
import { TokenType } from "@turnwright/contract/auth/v1/identity";
import type { UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { requireIdentity } from "@turnwright/platform/identity/identity";
import { listUsage } from "../store/usage.ts";
import type { AuthDeps } from "./deps.ts";

function dayOf(text: string, param: string): string | undefined {
  if (text === "") return undefined;
  const date = new Date(`${text}T00:00:00Z`);
  // PostgreSQL has no year 0.
  if (!Number.isNaN(date.getTime()) && date.toISOString().startsWith(text) && date.getUTCFullYear() > 0) return text;
  throw fail(ErrorReason.INVALID_REQUEST, `${param}: there is no day ${text}`, { param });
}

/** Handlers for the usage of the caller's own tokens. */
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
