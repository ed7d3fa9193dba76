import { expect, test } from "vitest";
import type { UsageRow } from "../../api/types.ts";
import { costOf, csvOf, groupsOf, seriesOf, sorted, stacked, sumOf, tickStep, tokenSeries } from "./usage-groups.ts";
import { daysOf, lastDays, rangeOf } from "./usage-range.ts";

const now = new Date("2026-03-02T23:30:00Z");
const row = (day: string, model: string, cost_usd: number, more: Partial<UsageRow> = {}): UsageRow => ({
  day,
  model,
  token_id: "0198aaaa-0000-7000-8000-00000000bbbb",
  requests: 1,
  prompt_tokens: 10,
  completion_tokens: 5,
  cost_usd,
  estimated_tokens: 0,
  key_name: "",
  priced: cost_usd > 0,
  ...more,
});

test("the days of an address: the last 30, or those that it names, in their order", () => {
  const of = (query: string) => rangeOf(new URLSearchParams(query), now);
  expect(of("")).toEqual({ from: "2026-02-01", to: "2026-03-02" });
  expect(of("from=2026-01-01&to=2026-01-31")).toEqual({ from: "2026-01-01", to: "2026-01-31" });
  expect(of("from=2026-01-31&to=2026-01-01")).toEqual({ from: "2026-01-01", to: "2026-01-31" });
  expect(of("from=2026-02-30&to=soon")).toEqual(of(""));
  expect(lastDays(7, now)).toEqual({ from: "2026-02-24", to: "2026-03-02" });
});

test("days without usage are drawn, except at the ends of a very long range", () => {
  expect(daysOf({ from: "2026-02-27", to: "2026-03-02" }, [])).toEqual(["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]);
  expect(daysOf({ from: "0001-01-01", to: "9999-12-31" }, ["2026-03-01", "2026-02-27"])).toHaveLength(3);
  expect(daysOf({ from: "0001-01-01", to: "9999-12-31" }, [])).toEqual(["9999-12-31"]);
});

test("four series of their own, the largest first, and one for the others", () => {
  const days = ["2026-03-01", "2026-03-02"];
  const rows = [1, 2, 3, 4, 5, 6].map((cost) => row("2026-03-01", `m${cost}`, cost));
  const series = seriesOf([...rows, row("2026-03-02", "m1", 9), row("2026-01-01", "m2", 99)], days, "model", (r) => r.cost_usd);
  expect(series).toEqual([
    { name: "m1", values: [1, 9] },
    { name: "m6", values: [6, 0] },
    { name: "m5", values: [5, 0] },
    { name: "m4", values: [4, 0] },
    { name: "other", values: [5, 0] },
  ]);
  expect(stacked(series)).toEqual([
    [1, 9],
    [7, 9],
    [12, 9],
    [16, 9],
    [21, 9],
  ]);
  expect(tokenSeries(rows, days).map(({ name, values }) => [name, ...values])).toEqual([
    ["in", 60, 0],
    ["out", 30, 0],
  ]);
});

test("keys by their names ; logins are one group", () => {
  const rows = [
    row("2026-03-01", "a", 1, { token_id: "k1", key_name: "ci" }),
    row("2026-03-01", "a", 2, { token_id: "s1", key_name: "" }),
    row("2026-03-02", "a", 3, { token_id: "s2", key_name: "" }),
  ];
  expect(groupsOf(rows, "key").map(({ name, cost }) => [name, cost])).toEqual([
    ["Logins", 5],
    ["ci", 1],
  ]);
  expect(sorted(groupsOf(rows, "key"), "cost", true).map(({ name }) => name)).toEqual(["ci", "Logins"]);
});

test("nothing for a model without a price is not told as free", () => {
  expect(costOf(sumOf([row("2026-03-01", "a", 0)]))).toBe("no price");
  expect(costOf(sumOf([row("2026-03-01", "a", 0, { priced: true })]))).toBe("US$0.00");
  expect(costOf(sumOf([row("2026-03-01", "a", 0), row("2026-03-01", "b", 1.5)]))).toBe("US$1.50 + no price");
  expect(costOf(sumOf([]))).toBe("US$0.00");
});

test("the file has a line for each day and group, and no formulas", () => {
  const rows = [row("2026-03-02", "=cmd()", 0.1), row("2026-03-01", "free, model", 0), row("2026-03-02", "=cmd()", 0.2)];
  expect(csvOf(rows, "model")).toBe(
    'day,model,requests,tokens_in,tokens_out,cost_usd\r\n2026-03-01,"free, model",1,10,5,\r\n2026-03-02,\'=cmd(),2,20,10,0.3\r\n',
  );
});

test("three round ticks are enough for the highest bar", () => {
  expect([1, 3, 4, 15, 29_999, 30_001].map((top) => tickStep(top, true))).toEqual([1, 1, 2, 5, 10_000, 20_000]);
  expect([0, 0.00002, 0.3, 0.9, 12.4].map((top) => tickStep(top, false))).toEqual([1, 0.00001, 0.1, 0.5, 5]);
});
