/** The schedule of further attempts after a failed one. */
export interface RetryPlan {
  /** Milliseconds after each attempt until the next; an attempt beyond the list is the last. */
  readonly delaysMs: readonly number[];
  /** A number from 0 to 1 that spreads attempts which would coincide. */
  readonly random: () => number;
}

/** Eight attempts in some 31 hours: at once, then after 5 s, 30 s, 2 min, 10 min, 1 h, 6 h and 24 h. */
export const retryPlan: RetryPlan = {
  delaysMs: [5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000],
  random: Math.random,
};

const longestMs = 86_400_000;
const shortestMs = 1_000;

/**
 * Milliseconds until the attempt after number `attempts` (from 1); undefined: it was the last. The receiver's
 * Retry-After counts, within a second and a day; without one, the plan's delay, give or take a fifth.
 */
export function retryDelayMs(plan: RetryPlan, attempts: number, retryAfterMs?: number): number | undefined {
  const planned = plan.delaysMs[attempts - 1];
  if (planned === undefined) return undefined;
  if (retryAfterMs !== undefined) return Math.min(longestMs, Math.max(shortestMs, retryAfterMs));
  return Math.round(planned * (0.8 + 0.4 * plan.random()));
}

/** Reads a Retry-After header, seconds or a date, as milliseconds from `now`; undefined when it is neither. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1_000;
  const at = /^[A-Z][a-z]{2}, /.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
