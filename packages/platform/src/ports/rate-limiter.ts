/** How many requests a key may make; 0 means without limit. */
export interface RateLimits {
  readonly perMinute: number;
  readonly perDay: number;
}

/** The answer to one request, and what the response's headers say of it. */
export interface RateDecision {
  readonly allowed: boolean;
  /** The limit of the window that is nearest to its end; 0 when nothing limits the key. */
  readonly limit: number;
  /** Requests left in that window, after this one. */
  readonly remaining: number;
  /** Whole seconds until that window ends. */
  readonly resetSeconds: number;
  /** Whole seconds until a request would be allowed; 0 when this one was. */
  readonly retryAfterSeconds: number;
}

/**
 * Counts requests in two sliding windows, a minute and a day. A window begins with a key's first request; when it ends, its count fades
 * out over the length of the next one, so no stretch of a window's length holds more than the limit (but for one request, by
 * rounding). A denied request counts in neither window.
 */
export interface RateLimiter {
  /** Decides on one request of a key, and counts it if it is allowed. Never rejects. */
  take(key: string, limits: RateLimits): Promise<RateDecision>;
}

/** The lengths of the two windows, in milliseconds. */
export const windowLengths = { minute: 60_000, day: 86_400_000 } as const;

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
