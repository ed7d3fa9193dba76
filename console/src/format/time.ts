const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const withZone = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

const minute = 60_000;
const hour = 60 * minute;
const dayMs = 24 * hour;

/** A span as people say it: `850 ms`, `2.4 s`, `48 s`, `2 h 10 min`, `6 d 21 h`. */
export function spanText(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "0 s";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1_000).toFixed(ms < 59_950 ? 1 : 0)} s`;
  if (ms < hour) {
    const seconds = Math.round((ms % minute) / 1_000) % 60;
    return `${Math.floor(ms / minute)} min${seconds === 0 ? "" : ` ${seconds} s`}`;
  }
  if (ms < dayMs) {
    const minutes = Math.floor((ms % hour) / minute);
    return `${Math.floor(ms / hour)} h${minutes === 0 ? "" : ` ${minutes} min`}`;
  }
  const hours = Math.floor((ms % dayMs) / hour);
  return `${Math.floor(ms / dayMs)} d${hours === 0 ? "" : ` ${hours} h`}`;
}

/** A span in its largest unit: `41 min`, `2 h`, `6 d`. */
export function roughSpan(ms: number): string {
  if (!(ms >= 1_000)) return "0 s";
  if (ms < minute) return `${Math.floor(ms / 1_000)} s`;
  if (ms < hour) return `${Math.floor(ms / minute)} min`;
  if (ms < dayMs) return `${Math.floor(ms / hour)} h`;
  return `${Math.floor(ms / dayMs)} d`;
}

/** A time of the API; undefined when it is absent or no time. */
export function timeOf(text: string | null | undefined): Date | undefined {
  if (text === null || text === undefined || text === "") return undefined;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** A time in the viewer's zone: relative below 24 hours, the date above. */
export function timeText(date: Date, now = new Date()): string {
  const ms = now.getTime() - date.getTime();
  if (Math.abs(ms) < 5_000) return "now";
  if (Math.abs(ms) >= dayMs) return day.format(date);
  return ms > 0 ? `${roughSpan(ms)} ago` : `in ${roughSpan(-ms)}`;
}

/** A time with its date and zone, for titles. */
export const fullTime = (date: Date) => withZone.format(date);
/** A time with its date. */
export const dateTime = (date: Date) => absolute.format(date);
/** A date alone. */
export const dateText = (date: Date) => day.format(date);
/** Hours, minutes and seconds. */
export const clockText = (date: Date) => clock.format(date);
/** Hours and minutes. */
export const shortClockText = (date: Date) => shortClock.format(date);
