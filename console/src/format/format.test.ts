import { describe, expect, test } from "vitest";
import { bytesText, costText, countText, moneyText } from "./money.ts";
import { roughSpan, spanText, timeOf, timeText } from "./time.ts";

describe("money", () => {
  test.each([
    [0.0031, "US$0.0031"],
    [5, "US$5.00"],
    [0.000001, "US$0.000001"],
    [1234.5, "US$1,234.50"],
    [0, "US$0.00"],
  ])("has its currency and two to six digits: %d", (amount, text) => {
    expect(moneyText(amount)).toBe(text);
  });

  test("without a price is no amount", () => {
    expect(moneyText(0, { priced: false })).toBe("no price");
    expect([costText(0), costText(0.5)]).toEqual(["no price", "US$0.50"]);
  });

  test("and other numbers have their nouns and units", () => {
    expect([countText(1, "call"), countText(3, "call"), countText(0, "entry", "entries")]).toEqual([
      "1 call",
      "3 calls",
      "0 entries",
    ]);
    expect([bytesText(412), bytesText(4_100), bytesText(2_000_000)]).toEqual(["412 B", "4.1 kB", "2.0 MB"]);
  });
});

describe("time", () => {
  test.each([
    [12, "12 ms"],
    [2_400, "2.4 s"],
    [48_400, "48.4 s"],
    [59_960, "60 s"],
    [99_000, "99 s"],
    [125_000, "2 min 5 s"],
    [180_000, "3 min"],
    [7_800_000, "2 h 10 min"],
    [594_000_000, "6 d 21 h"],
    [-5, "0 s"],
    [Number.NaN, "0 s"],
  ])("spans are said as people say them: %d ms", (ms, text) => {
    expect(spanText(ms)).toBe(text);
  });

  test("is relative below a day, in the past and in the future", () => {
    const now = new Date("2026-01-15T12:00:00Z");
    const at = (ms: number) => timeText(new Date(now.getTime() + ms), now);
    expect([at(-1_000), at(-41 * 60_000), at(-7_300_000), at(3 * 60_000)]).toEqual(["now", "41 min ago", "2 h ago", "in 3 min"]);
    expect(at(-3 * 86_400_000)).toMatch(/2026/);
    expect(roughSpan(500)).toBe("0 s");
  });

  test("of the API may be absent or no time", () => {
    expect([timeOf(null), timeOf(""), timeOf("soon")]).toEqual([undefined, undefined, undefined]);
    expect(timeOf("2026-01-15T09:30:00Z")?.getTime()).toBe(1_768_469_400_000);
  });
});
