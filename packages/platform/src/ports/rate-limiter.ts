/** Maximum number of requests; 0: unlimited. */
export interface RateLimits {
  readonly perMinute: number;
  readonly perDay: number;
}

/** A counter of requests, with its limits. */
export interface RateBucket extends RateLimits {
  readonly key: string;
}

/** The decision on one request, with the values of the response's rate-limit headers. */
export interface RateDecision {
  readonly allowed: boolean;
  /** The limit of the window with the fewest requests left; 0 when no limit applies. */
  readonly limit: number;
  /** Requests left in that window, after this one. */
  readonly remaining: number;
  /** Whole seconds until that window ends. */
  readonly resetSeconds: number;
  /** Whole seconds until a request would be allowed; 0 when this one was. */
  readonly retryAfterSeconds: number;
}

/**
 * Counts requests in two sliding windows per bucket, a minute and a day. A window begins with a bucket's first request.
 * After it ends, its count fades out over the length of the next one, so that no period of a window's length holds more
 * than the limit (except for one request, by rounding). A denied request counts in no window of any bucket.
 */
export interface RateLimiter {
  /** Decides on one request for all its buckets atomically, and counts it in each if all allow it. Never rejects. */
  take(buckets: readonly RateBucket[]): Promise<RateDecision>;
}

/** The lengths of the two windows, in milliseconds. */
export const windowLengths = { minute: 60_000, day: 86_400_000 } as const;

/** Whether a bucket has a limit. */
export function isLimited({ perMinute, perDay }: RateLimits): boolean {
  return perMinute > 0 || perDay > 0;
}

/** Builds a decision; milliseconds are rounded up to the seconds used in headers. */
export function decision(allowed: boolean, limit: number, remaining: number, resetMs: number, retryMs: number): RateDecision {
  return {
    allowed,
    limit,
    remaining,
    resetSeconds: Math.ceil(resetMs / 1_000),
    retryAfterSeconds: Math.ceil(retryMs / 1_000),
  };
}

/** The decision when no limit applies. */
export const unlimited: RateDecision = decision(true, 0, 0, 0, 0);

/** One limited window of one bucket, before the request is counted. */
export interface WindowView {
  readonly limit: number;
  /** Requests that it still allows. */
  readonly left: number;
  /** Milliseconds until it ends. */
  readonly resetMs: number;
  /** Milliseconds until it allows a request again. */
  wait(): number;
}

/**
 * Combines all windows into one decision. When all allow the request, the window with the fewest requests left decides;
 * otherwise the one that denies it longest. Ties go to the first.
 */
export function decideTogether(views: readonly WindowView[]): RateDecision {
  let tightest: WindowView | undefined;
  let longest: WindowView | undefined;
  let waitMs = 0;
  for (const view of views) {
    if (view.left <= 0) {
      const ms = view.wait();
      if (longest === undefined || ms > waitMs) {
        longest = view;
        waitMs = ms;
      }
    } else if (tightest === undefined || view.left < tightest.left) tightest = view;
  }
  if (longest !== undefined) return decision(false, longest.limit, 0, longest.resetMs, waitMs);
  return tightest === undefined ? unlimited : decision(true, tightest.limit, tightest.left - 1, tightest.resetMs, 0);
}
