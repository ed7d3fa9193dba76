import { expect, test, vi } from "vitest";
import { ErrorReason, fail } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { hedged, untilDatabaseAnswers } from "./patience.ts";

const logger = createLogger({ service: "test", level: "silent" });
const away = () => fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer");

test("a statement that the database did not answer is retried and returns its result", async () => {
  const work = vi.fn().mockRejectedValueOnce(away()).mockRejectedValueOnce(away()).mockResolvedValue("answer");
  expect(await untilDatabaseAnswers(logger, work)).toBe("answer");
  expect(work).toHaveBeenCalledTimes(3);
});

test("anything else is thrown at once", async () => {
  const work = vi.fn().mockRejectedValue(fail(ErrorReason.INVALID_REQUEST, "no"));
  await expect(untilDatabaseAnswers(logger, work)).rejects.toThrow("no");
  expect(work).toHaveBeenCalledTimes(1);
});

test("the failure is thrown when the patience has run out", async () => {
  const work = vi.fn().mockRejectedValue(away());
  await expect(untilDatabaseAnswers(logger, work, { patienceMs: 400 })).rejects.toThrow("the database does not answer");
  expect(work).toHaveBeenCalledTimes(3);
});

const never = () => new Promise<string>(() => {});

test("a hedged attempt without an answer is not awaited", async () => {
  const work = vi.fn().mockImplementationOnce(never).mockImplementationOnce(never).mockResolvedValue("third");
  expect(await hedged(work, 10)).toBe("third");
  expect(work).toHaveBeenCalledTimes(3);
});

test("a hedged attempt that the database did not answer is followed by another at once", async () => {
  const work = vi.fn().mockRejectedValueOnce(away()).mockResolvedValue("second");
  expect(await hedged(work, 60_000)).toBe("second");
});

test("a late hedged attempt counts if no other succeeded before", async () => {
  const first = Promise.withResolvers<string>();
  const work = vi.fn().mockReturnValueOnce(first.promise).mockRejectedValue(away());
  const answer = hedged(work, 10);
  await vi.waitFor(() => expect(work).toHaveBeenCalledTimes(3));
  first.resolve("first");
  expect(await answer).toBe("first");
});

test("hedging rejects after three attempts, and at once when the failure is not an outage", async () => {
  const work = vi.fn().mockRejectedValue(away());
  await expect(hedged(work, 10)).rejects.toThrow("the database does not answer");
  expect(work).toHaveBeenCalledTimes(3);
  const odd = vi.fn().mockRejectedValue(fail(ErrorReason.INVALID_REQUEST, "no"));
  await expect(hedged(odd, 10)).rejects.toThrow("no");
  expect(odd).toHaveBeenCalledTimes(1);
});

test("a hedged attempt that throws instead of rejecting is a failed attempt, in the timer too", async () => {
  const throws = () => {
    throw new TypeError("broken");
  };
  await expect(hedged(throws, 10)).rejects.toThrow("broken");
  const first = Promise.withResolvers<string>();
  const work = vi.fn<() => Promise<string>>().mockReturnValueOnce(first.promise).mockImplementation(throws);
  await expect(hedged(work, 10)).rejects.toThrow("broken");
});
