import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { type KeysetPosition, keysetPage } from "@turnwright/platform/postgres/keyset-cursor";

/** The most bytes of texts that are read for one response; its first item may be larger. */
export const maxReadBytes = 4 * 1024 * 1024;
/** The most bytes of texts in one response as JSON; its first item may be larger. A mesh message may have 8 MiB. */
export const maxResponseBytes = 6 * 1024 * 1024;

/** The most bytes of a UTF-16 code unit in JSON: `\u0001`. */
const longestEscape = 6;

/** Bytes of texts as JSON. */
function jsonBytes(texts: readonly string[]): number {
  return texts.reduce((bytes, text) => bytes + Buffer.byteLength(JSON.stringify(text)), 0);
}

/** The texts of a message. */
export function textsOf({ content, reasoning, providerFields, toolCalls, parts }: Message): string[] {
  const others = [
    ...toolCalls.map((call) => call.function?.arguments ?? ""),
    ...parts.flatMap((part) => [part.text, part.imageUrl]),
  ];
  return [content, reasoning, providerFields, ...others];
}

/** The first of some items whose texts fit in one response of `most` bytes; one at least, whatever its size. */
export function fitting<T>(items: readonly T[], texts: (item: T) => readonly string[], most = maxResponseBytes): T[] {
  const characters = items.reduce((sum, item) => sum + texts(item).reduce((all, { length }) => all + length, 0), 0);
  if (characters * longestEscape <= most) return [...items];
  let bytes = 0;
  const end = items.findIndex((item, index) => {
    bytes += jsonBytes(texts(item));
    return index > 0 && bytes > most;
  });
  return end === -1 ? [...items] : items.slice(0, end);
}

/** The last of some messages that fit in one response beside other texts; one at least, whatever its size. */
export function fittingLast(messages: readonly Message[], besides: readonly string[]): Message[] {
  return fitting(messages.toReversed(), textsOf, maxResponseBytes - jsonBytes(besides)).toReversed();
}

/**
 * SQL for the first rows of `rows` in an order, up to `maxReadBytes`; the first whatever its size. `size` is SQL for a
 * row's bytes of text. The column `followed` tells whether `rows` has a row behind this one.
 */
export function sizedRows(rows: string, order: string, size: string): string {
  return `
  select * from (
    select r.*, sum((${size})::bigint) over in_order as bytes_so_far, row_number() over in_order as place,
      lead(true) over in_order is not null as followed
    from (${rows}) r
    window in_order as (order by ${order})
  ) sized
  where place = 1 or bytes_so_far <= ${maxReadBytes}`;
}

/** A row of `sizedRows` of a list with keyset cursors. */
export interface SizedRow {
  readonly created_us: number;
  readonly followed: boolean;
}

/**
 * A page of a list from rows of `sizedRows`, which were read with one more than `limit`. It ends early when its texts
 * do not fit in one response. `next` is the position after it; undefined on the last page.
 */
export function sizedPage<R extends SizedRow>(
  rows: readonly R[],
  limit: number,
  idOf: (row: R) => string,
  texts: (row: R) => readonly string[],
): { page: R[]; next?: KeysetPosition } {
  const fit = fitting(rows.slice(0, limit), texts);
  const isFollowed = fit.length < rows.length || (fit.at(-1)?.followed ?? false);
  // The row behind the page shows that another page follows.
  return keysetPage(isFollowed ? [...fit, ...fit.slice(-1)] : fit, fit.length, idOf);
}
