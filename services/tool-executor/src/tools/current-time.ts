import { z } from "zod";
import { defineTool } from "../tool-definition/define-tool.ts";

/** Returns `{iso, unix, timezone}`: ISO 8601 with the zone's offset, whole seconds since 1970, the zone's name. */
export const currentTime = defineTool({
  name: "current_time",
  description: "The current date and time, in UTC or in a given time zone.",
  parameters: z.object({
    timezone: z
      .string()
      .refine(isTimeZone, { error: "is not an IANA time zone" })
      .optional()
      .describe("IANA name, for example Europe/Berlin; UTC unless given"),
  }),
  effect: "read",
  timeoutMs: 1_000,
  version: "1",
  execute({ timezone = "UTC" }) {
    const now = new Date();
    return { iso: isoIn(now, timezone), unix: Math.floor(now.getTime() / 1000), timezone };
  },
});

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** ISO 8601 with the zone's offset at that time; `Z` in UTC. */
export function isoIn(date: Date, timeZone: string): string {
  if (timeZone === "UTC") return date.toISOString();
  const formatter = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  const name = formatter.formatToParts(date).find(({ type }) => type === "timeZoneName")?.value ?? "GMT";
  const [, sign = "+", hours = "00", minutes = "00", seconds = "0"] = /([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(name) ?? [];
  const shift = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * (sign === "-" ? -1_000 : 1_000);
  return `${new Date(date.getTime() + shift).toISOString().slice(0, -1)}${sign}${hours}:${minutes}`;
}
