import { ErrorReason, fail } from "../errors.ts";

/** The position in a list, newest first, after which a page begins. */
export interface KeysetPosition {
  /** Creation time of the last row of the previous page, in microseconds since 1970. */
  readonly createdUs: number;
  /** UUID of that row. */
  readonly id: string;
}

/** The position before every row. */
export const listStart: KeysetPosition = {
  createdUs: 9_000_000_000_000_000,
  id: "ffffffff-ffff-ffff-ffff-ffffffffffff",
};

const format = /^(\d{1,16})\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** The column that gives a row's `createdUs`, for a select list. */
export const createdUsColumn = "(extract(epoch from created_at) * 1000000)::bigint as created_us";

/** The condition for rows after a position; the arguments are the statement's parameters, such as `$1` and `$2`. */
export function afterPosition(createdUs: string, id: string): string {
  return `(created_at, id) < (timestamptz 'epoch' + ${createdUs}::bigint * interval '1 microsecond', ${id}::uuid)`;
}

/** The opaque cursor of a position. */
export function encodeCursor({ createdUs, id }: KeysetPosition): string {
  return Buffer.from(`${createdUs}.${id}`).toString("base64url");
}

/** Reads a cursor of `encodeCursor`; an empty one is the start of the list. Throws INVALID_REQUEST for any other. */
export function decodeCursor(cursor: string): KeysetPosition {
  if (cursor === "") return listStart;
  const text = Buffer.from(cursor, "base64url").toString("latin1");
  const [, createdUs, id] = format.exec(text) ?? [];
  if (createdUs === undefined || id === undefined || Buffer.from(text).toString("base64url") !== cursor) {
    throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one that a previous page returned", { param: "cursor" });
  }
  return { createdUs: Number(createdUs), id };
}
