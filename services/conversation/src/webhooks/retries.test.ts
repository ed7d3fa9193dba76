import { expect, test } from "vitest";
import { parseRetryAfter, retryDelayMs, retryPlan } from "./retries.ts";

test("seven attempts are followed by another, at growing delays; the eighth is the last", () => {
  const delays = Array.from({ length: 8 }, (_, index) => retryDelayMs({ ...retryPlan, random: () => 0.5 }, index + 1));
  expect(delays).toEqual([5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000, undefined]);
});

test("delays differ by up to a fifth in either direction", () => {
  expect(retryDelayMs({ ...retryPlan, random: () => 0 }, 1)).toBe(4_000);
  expect(retryDelayMs({ ...retryPlan, random: () => 1 }, 1)).toBe(6_000);
});

test("Retry-After counts, within a second and a day, but adds no attempt", () => {
  expect(retryDelayMs(retryPlan, 1, 90_000)).toBe(90_000);
  expect(retryDelayMs(retryPlan, 1, 0)).toBe(1_000);
  expect(retryDelayMs(retryPlan, 1, 10 * 86_400_000)).toBe(86_400_000);
  expect(retryDelayMs(retryPlan, 8, 1_000)).toBeUndefined();
});

test("Retry-After is read as seconds or as a date, and anything else is ignored", () => {
  const now = Date.UTC(2026, 0, 15, 9, 30);
  expect(parseRetryAfter("120", now)).toBe(120_000);
  expect(parseRetryAfter("Thu, 15 Jan 2026 09:31:00 GMT", now)).toBe(60_000);
  expect(parseRetryAfter("Thu, 15 Jan 2026 09:29:00 GMT", now)).toBe(0);
  for (const value of [undefined, "", "soon", "-5", "1.5", "99999999999999"]) expect(parseRetryAfter(value, now)).toBeUndefined();
});
