import { ErrorReason, fail } from "@turnwright/platform/errors";
import { messagesEnd } from "../store/message-pages.ts";

/** The start of a page of messages: behind a `sequence_number`, or before one; neither: at the first message. */
export interface MessagePosition {
  readonly after?: number;
  readonly before?: number;
}

/** Messages with a sign of whether more of them follow in the same direction. */
interface Page {
  readonly messages: readonly { readonly sequenceNumber: number }[];
  readonly hasMore: boolean;
}

const format = /^(after|before)\.(\d{1,10})$/;

function encode(direction: "after" | "before", sequenceNumber: number | undefined): string {
  return sequenceNumber === undefined ? "" : Buffer.from(`${direction}.${sequenceNumber}`).toString("base64url");
}

/** The opaque cursor of the messages behind a page; empty when there are none. */
export function cursorAfter({ messages, hasMore }: Page): string {
  return hasMore ? encode("after", messages.at(-1)?.sequenceNumber) : "";
}

/** The opaque cursor of the messages before a page; empty when there are none. An empty page lies before `end`. */
export function cursorBefore({ messages, hasMore }: Page, end?: number): string {
  return hasMore ? encode("before", messages[0]?.sequenceNumber ?? end) : "";
}

function decode(cursor: string): MessagePosition {
  const text = Buffer.from(cursor, "base64url").toString("latin1");
  const [, direction, digits] = format.exec(text) ?? [];
  const sequenceNumber = Number(digits);
  if (direction === undefined || sequenceNumber > 2_147_483_647 || Buffer.from(text).toString("base64url") !== cursor) {
    throw fail(ErrorReason.INVALID_REQUEST, "cursor: not one that a previous page returned", { param: "cursor" });
  }
  return direction === "after" ? { after: sequenceNumber } : { before: sequenceNumber };
}

/**
 * The position that a request asks for, by its cursor or the deprecated names. With `isNewestFirst` it is the end of
 * the conversation unless they name another one. Throws INVALID_REQUEST for a cursor that no page returned, and for
 * names that contradict one another or the order.
 */
export function messagePosition(asked: MessagePosition & { readonly cursor: string }, isNewestFirst = false): MessagePosition {
  const position = givenPosition(asked);
  if (!isNewestFirst) return position;
  if (position.after !== undefined) {
    const other = asked.cursor === "" ? "after" : "a cursor of pages that go forwards";
    throw fail(ErrorReason.INVALID_REQUEST, `order: desc cannot be combined with ${other}`, { param: "order" });
  }
  return { before: position.before ?? messagesEnd };
}

function givenPosition({ cursor, after, before }: MessagePosition & { readonly cursor: string }): MessagePosition {
  if (after !== undefined && before !== undefined)
    throw fail(ErrorReason.INVALID_REQUEST, "before: cannot be combined with after", { param: "before" });
  if (cursor === "") return { after, before };
  const position = decode(cursor);
  for (const [param, given] of Object.entries({ after, before })) {
    if (given !== undefined && given !== position[param as keyof MessagePosition])
      throw fail(ErrorReason.INVALID_REQUEST, `${param}: differs from cursor; send cursor alone`, { param });
  }
  return position;
}
