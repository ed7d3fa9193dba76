/** How many requests may be made; 0 means without limit. */
export interface RateLimits {
  readonly perMinute: number;
  readonly perDay: number;
}

/** What requests are counted under, with its limits. */
export interface RateBucket extends RateLimits {
  readonly key: string;
}

/** The answer to one request, and what the response's headers say of it. */
export interface RateDecision {
  readonly allowed: boolean;
  /** The limit of the window that is nearest to its end; 0 when nothing limits the request. */
  readonly limit: number;
  /** Requests left in that window, after this one. */
  readonly remaining: number;
  /** Whole seconds until that window ends. */
  readonly resetSeconds: number;
  /** Whole seconds until a request would be allowed; 0 when this one was. */
  readonly retryAfterSeconds: number;
}

/**
 * Counts requests in two sliding windows for each bucket, a minute and a day. A window begins with a bucket's first
 * request; when it ends, its count fades out over the length of the next one, so no stretch of a window's length holds
 * more than the limit (but for one request, by rounding). A denied request counts in no window of any bucket.
 */
export interface RateLimiter {
  /**
   * Decides on one request, in one step for all of its buckets, and counts it in each if all allow it. Never rejects.
   */
  take(buckets: readonly RateBucket[]): Promise<RateDecision>;
}

/** The lengths of the two windows, in milliseconds. */
export const windowLengths = { minute: 60_000, day: 86_400_000 } as const;

/** Whether anything limits a bucket. */
export function isLimited({ perMinute, perDay }: RateLimits): boolean {
  return perMinute > 0 || perDay > 0;
}

/** Wraps up what a window says, with milliseconds rounded up to the seconds that headers carry. */
export function decision(allowed: boolean, limit: number, remaining: number, resetMs: number, retryMs: number): RateDecision {
  return {
    allowed,
    limit,
    remaining,
    resetSeconds: Math.ceil(resetMs / 1_000),
    retryAfterSeconds: Math.ceil(retryMs / 1_000),
  };
}

/** What nothing limits. */
export const unlimited: RateDecision = decision(true, 0, 0, 0, 0);

/** One limited window of one bucket, before the request is counted. */
export interface WindowView {
  readonly limit: number;
  /** Requests that it may still allow. */
  readonly left: number;
  /** Milliseconds until it ends. */
  readonly resetMs: number;
  /** Milliseconds until it may allow a request again. */
  wait(): number;
}

/**
 * The answer of all windows together: of those that allow the request the one with least left speaks, of those that
 * deny it the one that denies longest. Among equals the first.
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
