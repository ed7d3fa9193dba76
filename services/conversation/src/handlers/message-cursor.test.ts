import { describe, expect, test } from "vitest";
import { cursorAfter, cursorBefore, messagePosition } from "./message-cursor.ts";

const page = { messages: [{ sequenceNumber: 4 }, { sequenceNumber: 5 }], hasMore: true };
const refusalOf = (asked: Parameters<typeof messagePosition>[0]): string => {
  try {
    messagePosition(asked);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

describe("a cursor of messages", () => {
  test("goes on where a page ended, in its direction", () => {
    expect(messagePosition({ cursor: cursorAfter(page) })).toEqual({ after: 5 });
    expect(messagePosition({ cursor: cursorBefore(page) })).toEqual({ before: 4 });
    expect(messagePosition({ cursor: cursorBefore({ messages: [], hasMore: true }, 9) })).toEqual({ before: 9 });
    for (const cursor of [cursorAfter, cursorBefore]) expect(cursor({ ...page, hasMore: false })).toBe("");
  });

  test.each([
    "x",
    "after.5",
    "YWZ0ZXIuNQ==",
    Buffer.from("after.-5").toString("base64url"),
    Buffer.from("before.9999999999").toString("base64url"),
  ])("is refused when no page has returned it: %s", (cursor) =>
    expect(refusalOf({ cursor })).toContain("cursor: not one that a previous page returned"),
  );

  test("may come with the deprecated name of the same position, and with no other", () => {
    const cursor = cursorAfter(page);
    expect(messagePosition({ cursor, after: 5 })).toEqual({ after: 5 });
    expect(refusalOf({ cursor, after: 4 })).toContain("after: differs from cursor");
    expect(refusalOf({ cursor, before: 5 })).toContain("before: differs from cursor");
    expect(messagePosition({ cursor: "", before: 5 })).toEqual({ before: 5 });
    expect(refusalOf({ cursor: "", before: 5, after: 1 })).toContain("before: cannot be combined with after");
  });
});
