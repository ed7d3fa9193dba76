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

/** The position before every row of a list that is oldest first. */
export const oldestStart: KeysetPosition = { createdUs: 0, id: "00000000-0000-0000-0000-000000000000" };

const format = /^(\d{1,16})\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** The two columns by which a list is sorted, as SQL. */
export interface KeysetColumns {
  readonly createdAt: string;
  readonly id: string;
}

const usualColumns: KeysetColumns = { createdAt: "created_at", id: "id" };

/** The column `created_us`, which holds a row's `createdUs`, for a select list; `createdAt` is SQL. */
export function createdUsOf(createdAt: string): string {
  return `(extract(epoch from ${createdAt}) * 1000000)::bigint as created_us`;
}

/** `createdUsOf` for a column `created_at`. */
export const createdUsColumn = createdUsOf(usualColumns.createdAt);

/**
 * The condition for rows after a position. `createdUs` and `id` are parameters of the statement, as `$1` and `$2`.
 * `isOldestFirst`: the list is in the other order.
 */
export function afterPosition(
  createdUs: string,
  id: string,
  columns: KeysetColumns = usualColumns,
  { isOldestFirst = false }: { isOldestFirst?: boolean } = {},
): string {
  const position = `(timestamptz 'epoch' + ${createdUs}::bigint * interval '1 microsecond', ${id}::uuid)`;
  return `(${columns.createdAt}, ${columns.id}) ${isOldestFirst ? ">" : "<"} ${position}`;
}

/**
 * A page of a list, from rows that were read with one more than its limit: that row shows that another page follows.
 * `next` is the position after the page; undefined on the last one.
 */
export function keysetPage<R extends { readonly created_us: number }>(
  rows: readonly R[],
  limit: number,
  idOf: (row: R) => string,
): { page: R[]; next?: KeysetPosition } {
  const page = rows.slice(0, limit);
  const last = rows.length > limit ? page.at(-1) : undefined;
  return { page, next: last && { createdUs: last.created_us, id: idOf(last) } };
}

/** The opaque cursor of a position. */
export function encodeCursor({ createdUs, id }: KeysetPosition): string {
  return Buffer.from(`${createdUs}.${id}`).toString("base64url");
}

/**
 * Decodes a cursor of `encodeCursor`; an empty one is the start of the list. Throws INVALID_REQUEST for any other text.
 */
export function decodeCursor(cursor: string, start: KeysetPosition = listStart): KeysetPosition {
  if (cursor === "") return start;
  const text = Buffer.from(cursor, "base64url").toString("latin1");
  const [, createdUs, id] = format.exec(text) ?? [];
  if (createdUs === undefined || id === undefined || Buffer.from(text).toString("base64url") !== cursor) {
    throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one that a previous page returned", { param: "cursor" });
  }
  return { createdUs: Number(createdUs), id };
}
