import { type Identity, TokenType } from "@turnwright/contract/auth/v1/identity";
import { clientNetworks } from "@turnwright/platform/client-network";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { ConcurrencyLimiter, Release, SlotBucket } from "@turnwright/platform/ports/concurrency-limiter";
import { isLimited, type RateBucket, type RateDecision, type RateLimiter } from "@turnwright/platform/ports/rate-limiter";
import type { HeaderSink } from "../http/answer-headers.ts";

/** A kind of requests without a token: each has a limit of its own. */
export type AddressKind = "check" | "read" | "renewal";

/** Names in the keys of the counters. */
const kindNames: Readonly<Record<AddressKind, string>> = { check: "address", read: "reads", renewal: "renewals" };

/** Counts requests against the limits of tokens and addresses. */
export interface Limits {
  /**
   * Counts a request of a token against its own limits and shared ones; sets the limit headers. Throws RATE_LIMITED.
   */
  takeToken(identity: Identity, sink: HeaderSink): Promise<void>;
  /** Takes a slot of each concurrency limit that applies to a token; undefined when none does. Throws RATE_LIMITED. */
  takeSlot(identity: Identity): Promise<Release> | undefined;
  /**
   * Counts a request without a token by its address and the surrounding networks; those that only read, and those that
   * renew a session, have a limit of their own each. Throws RATE_LIMITED.
   */
  takeAddress(address: string, sink: HeaderSink, kind?: AddressKind): Promise<void>;
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

/** The counters of a credential's requests. */
interface Buckets {
  readonly rates: readonly RateBucket[];
  readonly slots: readonly SlotBucket[];
}

/**
 * The sessions of an account share one limit, so that another login brings no new one; an API key keeps its limit when
 * its secret is rotated.
 */
function ownKey({ tokenType, tokenId, userId }: Identity): string {
  return tokenType === TokenType.API_KEY ? `token:${tokenId}` : `sessions:${userId}`;
}

function bucketsOf(identity: Identity): Buckets {
  const limited = [
    { key: ownKey(identity), limits: identity },
    ...identity.sharedLimits.map((limits) => ({
      key: limits.owner.case === "userId" ? `account:${limits.owner.value}` : `token:${limits.owner.value}`,
      limits,
    })),
  ];
  return {
    rates: limited
      .map(({ key, limits }) => ({ key, perMinute: limits.rateLimitPerMinute, perDay: limits.rateLimitPerDay }))
      .filter(isLimited),
    slots: limited.map(({ key, limits }) => ({ key, max: limits.maxConcurrent })).filter(({ max }) => max > 0),
  };
}

function tooManyAtOnce({ key, max }: SlotBucket, identity: Identity): Error {
  const who = key === ownKey(identity) ? "This token" : key.startsWith("account:") ? "This account" : "A key above this one";
  return fail(ErrorReason.RATE_LIMITED, `${who} may have ${max} requests in flight at once.`, { retryAfterSeconds: 1 });
}

/**
 * Requests a minute that an address may send to methods that only read and ask for no credential, such as health
 * checks: load balancers send one each second, and several may share an address. The same holds for renewals of
 * sessions, which count by their session besides.
 */
const readsPerMinute = 600;

/** Creates the limits; with `enabled` false, nothing is counted. */
export function createLimits(deps: {
  limiter: RateLimiter;
  concurrency: ConcurrencyLimiter;
  enabled: boolean;
  addressPerMinute: number;
}): Limits {
  /** A cached credential always comes with the same identity object. */
  const known = new WeakMap<Identity, Buckets>();
  const knownBucketsOf = (identity: Identity): Buckets => {
    const buckets = known.get(identity) ?? bucketsOf(identity);
    known.set(identity, buckets);
    return buckets;
  };
  return {
    async takeToken(identity, sink) {
      if (deps.enabled) report(await deps.limiter.take(knownBucketsOf(identity).rates), sink);
    },
    takeSlot(identity) {
      const { slots } = knownBucketsOf(identity);
      if (!deps.enabled || slots.length === 0) return undefined;
      return deps.concurrency.acquire(slots).then((taken) => {
        if (typeof taken === "function") return taken;
        throw tooManyAtOnce(taken, identity);
      });
    },
    async takeAddress(address, sink, kind = "check") {
      // Zero is no limit, of either kind.
      if (!deps.enabled || deps.addressPerMinute === 0) return;
      const perMinute = kind === "check" ? deps.addressPerMinute : Math.max(readsPerMinute, deps.addressPerMinute);
      const buckets = clientNetworks(address).map(({ name, factor }) => ({
        key: `${kindNames[kind]}:${name}`,
        perMinute: perMinute * factor,
        perDay: 0,
      }));
      report(await deps.limiter.take(buckets), sink);
    },
  };
}
