import { describe, expect, test } from "vitest";
import { KeepAliveWatch } from "./keep-alive.ts";
import { modelNames } from "./model-names.ts";
import { retryAfterMs } from "./retry-after.ts";
import { RetryBudget } from "./retry-budget.ts";

const now = Date.parse("2026-06-01T12:00:00Z");

test.each<[Record<string, string | string[]>, number]>([
  [{ "retry-after": "2" }, 2_000],
  [{ "retry-after": "0.5" }, 500],
  [{ "retry-after": " 7 " }, 7_000],
  [{ "retry-after": ["3", "4"] }, 3_000],
  [{ "retry-after": "Mon, 01 Jun 2026 12:00:30 GMT" }, 30_000],
  [{ "retry-after": "Monday, 01-Jun-26 12:00:30 GMT" }, 30_000],
  [{ "retry-after": "Mon Jun  1 12:00:30 2026 GMT" }, 30_000],
  [{ "retry-after": "2026-06-01T12:00:30Z" }, 30_000],
  [{ "retry-after": "Mon, 01 Jun 2026 11:00:00 GMT" }, 0],
  [{ "retry-after-ms": "1500", "retry-after": "60" }, 1_500],
  [{ "retry-after-ms": "soon", "retry-after": "1" }, 1_000],
  [{ "retry-after": "-5" }, 0],
  [{ "retry-after": "soon" }, 0],
  [{ "retry-after": "1e9" }, 0],
  [{ "retry-after": "Infinity" }, 0],
  [{ "retry-after": "2099" }, 2_099_000],
  [{ "retry-after": "99999999" }, 86_400_000],
  [{ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s" }, 360_000],
  [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms" }, 120],
  [{ "x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9s" }, 0],
  [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1780315200" }, 0],
  [{}, 0],
])("a time to wait is read from %j", (headers, ms) => {
  expect(retryAfterMs(headers, now)).toBe(ms);
});

describe("the budget of retries", () => {
  const taken = (budget: RetryBudget, tries: number) => Array.from({ length: tries }, () => budget.take()).filter(Boolean).length;

  test("is a fifth of the calls of the last minute, with a few always", () => {
    let at = 1_000_000;
    const budget = new RetryBudget({ now: () => at });
    expect(taken(budget, 100)).toBe(10);
    for (let call = 0; call < 200; call++) budget.onCall();
    expect(taken(budget, 100)).toBe(30);
    at += 30_000;
    expect(budget.take()).toBe(false);
    at += 35_000;
    expect(taken(budget, 100)).toBe(10);
    at += 3_600_000;
    expect(taken(budget, 100)).toBe(10);
  });

  test("forgets step by step", () => {
    let at = 0;
    const budget = new RetryBudget({ least: 1, share: 0, now: () => at });
    const times: number[] = [];
    for (; at < 300_000; at += 1_000) if (budget.take()) times.push(at);
    for (const [index, time] of times.entries())
      if (index > 0) expect(time - (times[index - 1] as number)).toBeGreaterThan(50_000);
    expect(times.length).toBeGreaterThanOrEqual(5);
  });
});

describe("a watch over signs of life", () => {
  const watch = (...pieces: string[]) => {
    let at = 0;
    const watched = new KeepAliveWatch(1_000, () => at);
    return pieces.map((piece) => {
      at += 600;
      return watched.isAlive(Buffer.from(piece));
    });
  };

  test.each<[string[], boolean[]]>([
    [
      [": a\n\n", ": a\n\n", ": a\n\n"],
      [true, false, false],
    ],
    [
      ["data: 1\n\n", ": a\n\n", ": a\n\n", "data: 2\n\n", ": a\n\n"],
      [true, true, true, true, true],
    ],
    [
      ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"],
      [true, true, true],
    ],
    [
      ["dat", "a: 1", "2", "3"],
      [true, false, false, false],
    ],
    [
      ["da", "ta: 1\n", ": a\n"],
      [true, true, true],
    ],
    [
      [": a", "b c", "\n"],
      [true, false, false],
    ],
    [
      ["\n", "\r\n", "\n\n"],
      [true, false, false],
    ],
    [
      ["data: 1\r\r", ": a\r\r", "data: 2\r\r", ": a\r\r"],
      [true, true, true, true],
    ],
    [
      ["data: 1\n: a\nda", "ta: 2\n", ": b\n"],
      [true, true, true],
    ],
  ])("of the pieces %j", (pieces, alive) => {
    expect(watch(...pieces)).toEqual(alive);
  });
});

test.each<[unknown, string[]]>([
  [{ object: "list", data: [{ id: "a" }, { id: "b" }, { id: "a" }] }, ["a", "b"]],
  [{ models: [{ name: "llama3:8b", model: "llama3:8b" }] }, ["llama3:8b"]],
  [
    [{ id: "a" }, "b"],
    ["a", "b"],
  ],
  [{ data: null, models: ["a"] }, ["a"]],
  [{ data: { id: "a" } }, []],
  [{ data: [null, 1, {}, { id: 5 }, { id: "" }, { id: "x".repeat(300) }, { id: "a" }] }, ["a"]],
  [{ data: null }, []],
  [null, []],
  ["a", []],
  [7, []],
])("the models in the list %j", (json, names) => {
  expect(modelNames(json)).toEqual(names);
});
