import { expect, test } from "vitest";
import type { InboxItem } from "../../api/types.ts";
import { briefOf, inboxSentence, isBulkable, isCut, nextOpen } from "./items.ts";

const item = (id: string, more: object = {}) =>
  ({
    id,
    kind: "approval",
    status: "pending",
    calls: [{ arguments: '{ "a":\n1 }', arguments_bytes: 10, effect: "read", ...more }],
  }) as never as InboxItem;

test("the sentence has the number and the age of the oldest", () => {
  const now = new Date("2026-06-01T02:10:00Z");
  expect(inboxSentence(0, null, now)).toBe("Nothing waits for you.");
  expect(inboxSentence(1, null, now)).toBe("1 call waits for you.");
  expect(inboxSentence(3, "2026-06-01T00:00:00Z", now)).toBe("3 calls wait for you, the oldest 2 h 10 min.");
});

test("calls that happen once, and calls that are not shown whole, are approved alone", () => {
  expect(isBulkable(item("a"))).toBe(true);
  expect(isBulkable(item("a", { effect: "once" }))).toBe(false);
  expect(isBulkable(item("a", { arguments_bytes: 5_000 }))).toBe(false);
  expect(isCut(item("a", { arguments: '"é"', arguments_bytes: 4 }))).toBe(false);
  expect(briefOf(item("a"))).toBe('{ "a": 1 }');
});

test("after a decision the next item that waits is opened, else the one before", () => {
  const items = [item("a"), item("b"), item("c")];
  expect(nextOpen(items, new Set(), "a")).toBe("b");
  expect(nextOpen(items, new Set(["b"]), "a")).toBe("c");
  expect(nextOpen(items, new Set(["a"]), "c")).toBe("b");
  expect(nextOpen(items, new Set(["a", "b"]), "c")).toBe(undefined);
});
