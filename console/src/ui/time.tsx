import { signal } from "@preact/signals";
import { fullTime, timeOf, timeText } from "../format/time.ts";

/** The time to the minute, for texts such as `2 h ago`: the page changes once a minute, not once a second. */
export const minuteClock = signal(new Date());
setInterval(() => {
  minuteClock.value = new Date();
}, 60_000);

/** A time of the API in the viewer's zone, relative below 24 hours, with the exact time in its title. */
export function Time({ at, empty = "–" }: { readonly at: string | Date | null | undefined; readonly empty?: string }) {
  const date = at instanceof Date ? at : timeOf(at);
  if (date === undefined) return <span>{empty}</span>;
  const now = minuteClock.value;
  const latest = now.getTime() < date.getTime() && date.getTime() - now.getTime() < 60_000 ? new Date() : now;
  return (
    <time dateTime={date.toISOString()} title={`${fullTime(date)} · ${date.toISOString()}`}>
      {timeText(date, latest)}
    </time>
  );
}
