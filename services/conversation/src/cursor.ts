import { ErrorReason, fail } from "@turnwright/platform/errors";

/** The place in a list after which a page begins: newest first, so the page has what is older. */
export interface Place {
  /** When the last conversation of the page before was made, in microseconds since 1970. */
  readonly createdUs: number;
  /** Its UUID. */
  readonly id: string;
}

/** Before all conversations. */
export const listStart: Place = { createdUs: 9_000_000_000_000_000, id: "ffffffff-ffff-ffff-ffff-ffffffffffff" };

const format = /^(\d{1,16})\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** The opaque text of a place. */
export function encodeCursor({ createdUs, id }: Place): string {
  return Buffer.from(`${createdUs}.${id}`).toString("base64url");
}

/** Reads a cursor that `encodeCursor` made; empty: the start of the list. Throws INVALID_REQUEST. */
export function decodeCursor(cursor: string): Place {
  if (cursor === "") return listStart;
  const text = Buffer.from(cursor, "base64url").toString("latin1");
  const [, createdUs, id] = format.exec(text) ?? [];
  if (createdUs === undefined || id === undefined || Buffer.from(text).toString("base64url") !== cursor) {
    throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one that a page before has given", { param: "cursor" });
  }
  return { createdUs: Number(createdUs), id };
}
