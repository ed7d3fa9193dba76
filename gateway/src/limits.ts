import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ConcurrencyLimiter, Release } from "@turnwright/platform/ports/concurrency-limiter";
import type { RateDecision, RateLimiter } from "@turnwright/platform/ports/rate-limiter";

/** Something that takes response headers, as a fastify reply does. */
export interface HeaderSink {
  header(name: string, value: string): unknown;
}

/** Counts requests against the limits of tokens and addresses. */
export interface Limits {
  /** Counts a request of a token; sets the limit headers; throws RATE_LIMITED. */
  takeToken(identity: Identity, sink: HeaderSink): Promise<void>;
  /** Takes one of the slots of a token that has a limit of concurrent requests; undefined: it has none. Throws RATE_LIMITED. */
  takeSlot(identity: Identity): Promise<Release> | undefined;
  /** Counts a request without a token, by address; throws RATE_LIMITED. */
  takeAddress(address: string, sink: HeaderSink): Promise<void>;
}

function report(decision: RateDecision, sink: HeaderSink): void {
  if (decision.limit > 0) {
    const limit = String(decision.limit);
    const remaining = String(decision.remaining);
    sink.header("x-ratelimit-limit", limit);
    sink.header("x-ratelimit-remaining", remaining);
    sink.header("x-ratelimit-limit-requests", limit);
    sink.header("x-ratelimit-remaining-requests", remaining);
    sink.header("x-ratelimit-reset-requests", `${decision.resetSeconds}s`);
  }
  if (decision.allowed) return;
  const seconds = Math.max(1, decision.retryAfterSeconds);
  throw fail(ErrorReason.RATE_LIMITED, `Too many requests; try again in ${seconds} s.`, { retryAfterSeconds: seconds });
}

/** Makes the limits; with `enabled` false nothing is counted. */
export function createLimits(deps: {
  limiter: RateLimiter;
  concurrency: ConcurrencyLimiter;
  enabled: boolean;
  addressPerMinute: number;
}): Limits {
  const addressLimits = { perMinute: deps.addressPerMinute, perDay: 0 };
  return {
    async takeToken(identity, sink) {
      if (!deps.enabled) return;
      const limits = { perMinute: identity.rateLimitPerMinute, perDay: identity.rateLimitPerDay };
      report(await deps.limiter.take(`token:${identity.tokenId}`, limits), sink);
    },
    takeSlot({ tokenId, maxConcurrent }) {
      if (!deps.enabled || maxConcurrent <= 0) return undefined;
      return deps.concurrency.acquire(`token:${tokenId}`, maxConcurrent).then((release) => {
        if (release !== undefined) return release;
        throw fail(ErrorReason.RATE_LIMITED, `This token may have ${maxConcurrent} requests under way at once.`, {
          retryAfterSeconds: 1,
        });
      });
    },
    async takeAddress(address, sink) {
      if (!deps.enabled) return;
      report(await deps.limiter.take(`address:${address}`, addressLimits), sink);
    },
  };
}
