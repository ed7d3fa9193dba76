import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversation } from "../../testing/history.ts";
import { exchangesOf } from "./exchanges.ts";
import { fit } from "./fit.ts";
import { shortened } from "./left-out.ts";

function fitted(words: string, room: number, init: Parameters<typeof conversation>[1] = {}) {
  const { exchanges, bytes } = fit(exchangesOf(conversation(words, init)), room);
  const messages = exchanges.flatMap(({ said, rounds }) => [
    said,
    ...rounds.flatMap(({ answer, results }) => [answer, ...results]),
  ]);
  return { bytes, messages, contents: messages.map((message) => message?.content ?? "") };
}

const long = (bytes: number) => ({ content: "x".repeat(bytes) });

describe("a history in a limited room", () => {
  test("has whole exchanges: the newest that fit", () => {
    const init = { u1: long(400), a1: long(400), u2: long(400), a2: long(400) };
    const { contents } = fitted("u1 a1 u2 a2 u3", 1_650, init);
    expect(contents.map((content) => content.length)).toEqual([400, 400, 2]);
  });

  test("keeps the newest message whole, whatever its size", () => {
    const { contents, bytes } = fitted("u1 a1 u2", 1_000, { u2: long(50_000) });
    expect(contents.map((content) => content.length)).toEqual([50_000]);
    expect(bytes).toBeGreaterThan(1_000);
  });

  test("has the beginning and the end of a result that is too large, and says how much is missing", () => {
    const content = `first${"x".repeat(2_000_000)}last`;
    const { contents, bytes } = fitted("u c1 t1", 10_000, { t1: { content } });
    const result = contents.at(-1) ?? "";
    expect(result).toMatch(/^first.*\n\[Left out here: \d+ bytes\]\n.*last$/s);
    expect(bytes).toBeLessThanOrEqual(10_000);
    const missing = Number(/here: (\d+)/.exec(result)?.[1]);
    expect(missing + result.replace(/\n\[.*\]\n/, "").length).toBe(content.length);
  });

  test("gives the newest results more than earlier ones", () => {
    const large = long(100_000);
    const { messages, bytes } = fitted("u c1 t1 c2 t2", 20_000, { t1: large, t2: large });
    const [first = 0, second = 0] = messages
      .filter((message) => message?.role === "tool")
      .map((message) => message?.content.length);
    expect(first).toBeGreaterThan(200);
    expect(second).toBeGreaterThan(3 * first);
    expect(bytes).toBeLessThanOrEqual(20_000);
  });

  test("shortens an unanswered message that is too large, or skips it, and keeps what was before it", () => {
    const init = { u2: long(200_000) };
    const sizes = (words: string, room: number) => fitted(words, room, init).contents.map(({ length }) => length);
    expect(sizes("u1 a1 u2 u3", 1_000)).toEqual([2, 2, 239, 2]);
    expect(sizes("u1 a1 u2 u3", 300)).toEqual([2, 2, 2]);
  });

  test("begins with the same message for many calls, once the oldest have to go", () => {
    const messages = conversation(Array.from({ length: 400 }, () => "u a").join(" "), { u: long(100), a: long(300) });
    const starts: (string | undefined)[] = [];
    for (let count = 401; count < 800; count += 2) {
      const { exchanges, bytes } = fit(exchangesOf(messages.slice(Math.max(0, count - 200), count)), 20_000);
      starts.push(exchanges[0]?.said?.id);
      expect(bytes).toBeLessThanOrEqual(20_000);
      expect(bytes).toBeGreaterThan(14_000);
    }
    expect(starts).toHaveLength(200);
    expect(new Set(starts).size).toBeLessThan(30);
  });

  test("drops the oldest rounds of the current exchange before its newest", () => {
    const words = Array.from({ length: 60 }, () => "c1 t1").join(" ");
    const { messages, bytes } = fitted(`u ${words}`, 6_000, { c1: { arguments: JSON.stringify("y".repeat(500)) } });
    expect(messages[0]?.role).toBe("user");
    expect(messages.at(-1)?.role).toBe("tool");
    expect(messages.length).toBeLessThan(30);
    expect(bytes).toBeLessThanOrEqual(6_000);
  });

  test("is never larger than its room, but for the newest message and the calls of its newest round", () => {
    const word = fc.constantFrom("u", "a", "c1", "c12", "t1", "t2");
    const sizes = fc.dictionary(word, fc.record({ content: fc.integer({ min: 0, max: 20_000 }).map((n) => "x".repeat(n)) }));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 16 }), sizes, fc.integer({ min: 3_000, max: 30_000 }), (words, init, room) => {
        const { bytes } = fitted([...words, "c12", "t1", "t2"].join(" "), room, { ...init, u: { content: "u" } });
        expect(bytes).toBeLessThanOrEqual(room);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a shortened text", () => {
  test("is within its limit and splits no character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 400 }), fc.integer({ min: 0, max: 400 }), (text, limit) => {
        const short = shortened(text, limit);
        expect(Buffer.byteLength(short)).toBeLessThanOrEqual(Math.max(limit, 48));
        expect(short).toBe(short.toWellFormed());
        expect(short.includes("\ufffd")).toBe(text.includes("\ufffd"));
        if (Buffer.byteLength(text) <= limit) expect(short).toBe(text);
      }),
    );
  });

  test("counts what was missing before", () => {
    const once = `${"a".repeat(3_000)}\n[Left out here: 5000 bytes]\n${"b".repeat(1_000)}`;
    const again = shortened(once, 500);
    const [, missing] = /here: (\d+) bytes/.exec(again) ?? [];
    expect(Number(missing) + again.replace(/\n\[.*\]\n/, "").length).toBe(9_000);
  });
});
