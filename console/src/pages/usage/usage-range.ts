/** Days of usage, both included, as YYYY-MM-DD in UTC. */
export interface UsageRange {
  readonly from: string;
  readonly to: string;
}

/** The lengths to choose from, in days. */
export const rangeLengths = [7, 30, 90] as const;

const dayMs = 86_400_000;
const defaultLength = 30;
/** Days that a chart draws at most before it leaves out those without usage at both ends. */
const mostEmptyDays = 366;

/** The day of a time, in UTC. */
export const dayOf = (time: Date) => time.toISOString().slice(0, 10);
const daysAfter = (day: string, days: number) => dayOf(new Date(Date.parse(day) + days * dayMs));

/** Whether a text is a day of the calendar. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const time = Date.parse(text);
  return !Number.isNaN(time) && dayOf(new Date(time)) === text;
}

/** The last days up to now. */
export function lastDays(length: number, now: Date): UsageRange {
  return { from: daysAfter(dayOf(now), 1 - length), to: dayOf(now) };
}

/** The days of an address: the last 30 unless it names others. Days in the wrong order change places. */
export function rangeOf(query: URLSearchParams, now: Date): UsageRange {
  const named = (name: string) => {
    const text = query.get(name) ?? "";
    return isDay(text) ? text : undefined;
  };
  const to = named("to") ?? dayOf(now);
  const from = named("from") ?? daysAfter(to, 1 - defaultLength);
  return from <= to ? { from, to } : { from: to, to: from };
}

/** Every day of a range, the oldest first. A long range begins and ends at the usage in it. */
export function daysOf({ from, to }: UsageRange, used: readonly string[]): string[] {
  const known = [...used].sort();
  const isLong = Date.parse(to) - Date.parse(from) >= mostEmptyDays * dayMs;
  const first = isLong ? (known[0] ?? to) : from;
  const last = isLong ? (known.at(-1) ?? to) : to;
  const count = Math.round((Date.parse(last) - Date.parse(first)) / dayMs) + 1;
  return Array.from({ length: count }, (_, i) => daysAfter(first, i));
}

const withYear = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const withoutYear = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", day: "numeric", month: "short" });

/** A range in words. */
export const rangeText = ({ from, to }: UsageRange) => withYear.formatRange(new Date(from), new Date(to));
/** A day in short, for an axis. */
export const shortDay = (day: string) => withoutYear.format(new Date(day));
