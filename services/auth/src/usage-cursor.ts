import { ErrorReason, fail } from "@turnwright/platform/errors";
import { z } from "zod";
import type { UsageGroupName, UsagePosition } from "./store/usage-report.ts";

const model = z
  .string()
  .max(500)
  .refine((text) => !text.includes("\0"));
// PostgreSQL has no year 0.
const day = z.iso.date().refine((text) => !text.startsWith("0000"));
const content = z.tuple([z.string(), day, z.guid(), model, z.guid()]);

/** The opaque cursor of a position in a report with these groups. */
export function encodeUsageCursor(groupBy: readonly UsageGroupName[], at: UsagePosition): string {
  return Buffer.from(JSON.stringify([groupBy.join(), at.day, at.userId, at.model, at.tokenId])).toString("base64url");
}

/**
 * Decodes a cursor of `encodeUsageCursor`; undefined for an empty one, the start of the report. Throws INVALID_REQUEST
 * for any other text, and for a cursor of other groups.
 */
export function decodeUsageCursor(groupBy: readonly UsageGroupName[], cursor: string): UsagePosition | undefined {
  if (cursor === "") return undefined;
  const { success, data } = content.safeParse(parsed(Buffer.from(cursor, "base64url").toString()));
  if (!success) throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one that a previous page returned", { param: "cursor" });
  const [groups, day, userId, model, tokenId] = data;
  if (groups === groupBy.join()) return { day, userId, model, tokenId };
  throw fail(ErrorReason.INVALID_REQUEST, "cursor: is of a page with another group_by", { param: "cursor" });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
