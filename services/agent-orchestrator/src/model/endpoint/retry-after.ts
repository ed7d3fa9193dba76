type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** The longest time that is passed on, in milliseconds: a day. */
const longestMs = 86_400_000;
const dateForm = /^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? |\d{4}-\d\d-\d\dT)/i;
const decimalForm = /^\d{1,12}(?:\.\d{1,9})?$/;
const durationForm = /^(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/;

function only(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? (header[0] ?? "") : (header ?? "")).trim();
}

/** Milliseconds of `1h2m3.5s` or `120ms`. */
function durationMs(text: string): number | undefined {
  const found = text === "" ? null : durationForm.exec(text);
  if (found === null) return undefined;
  const [, hours = 0, minutes = 0, seconds = 0, ms = 0] = found;
  return Number(hours) * 3_600_000 + Number(minutes) * 60_000 + Number(seconds) * 1_000 + Number(ms);
}

/** The longest wait of OpenAI's limits that are used up: `x-ratelimit-remaining-requests: 0` with its `-reset-`. */
function resetMs(headers: Headers): number | undefined {
  const waits = ["requests", "tokens"].flatMap((kind) => {
    if (only(headers[`x-ratelimit-remaining-${kind}`]) !== "0") return [];
    return durationMs(only(headers[`x-ratelimit-reset-${kind}`])) ?? [];
  });
  return waits.length === 0 ? undefined : Math.max(...waits);
}

function toldMs(headers: Headers, now: number): number | undefined {
  const exact = only(headers["retry-after-ms"]);
  if (decimalForm.test(exact)) return Number(exact);
  const usual = only(headers["retry-after"]);
  if (decimalForm.test(usual)) return Number(usual) * 1_000;
  const at = dateForm.test(usual) ? Date.parse(usual) : Number.NaN;
  return Number.isNaN(at) ? resetMs(headers) : at - now;
}

/**
 * Milliseconds after which an endpoint asks to come back, a day at most: from `retry-after-ms`, `retry-after` (seconds,
 * also fractions, or a date) or OpenAI's reset times of limits that are used up. 0: none told, in the past, or
 * nonsense.
 */
export function retryAfterMs(headers: Headers, now = Date.now()): number {
  return Math.min(Math.max(toldMs(headers, now) ?? 0, 0), longestMs);
}
