import { ErrorReason, fail } from "@turnwright/platform/errors";
import { z } from "zod";

const position = z.tuple([z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00$/), z.uuid()]);

/** The end of a page as opaque text. */
export function encodeCursor(last: { createdAt: string; id: string }): string {
  return Buffer.from(JSON.stringify([last.createdAt, last.id])).toString("base64url");
}

/** Where the next page begins. Throws INVALID_REQUEST. */
export function decodeCursor(cursor: string): { createdAt: string; id: string } | undefined {
  if (cursor === "") return undefined;
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
  } catch {
    json = undefined;
  }
  const parsed = position.safeParse(json);
  if (!parsed.success) throw fail(ErrorReason.INVALID_REQUEST, "cursor: is not one of this list", { param: "cursor" });
  return { createdAt: parsed.data[0], id: parsed.data[1] };
}
