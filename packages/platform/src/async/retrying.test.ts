import { expect, test, vi } from "vitest";
import { growingPauses, retrying } from "./retrying.ts";

const fault = new Error("away");
const quick = { firstMs: 1, longestMs: 4, patienceMs: 10_000, mayPass: () => true };

test("retrying: pauses double up to the longest", () => {
  const pauses = growingPauses({ firstMs: 25, longestMs: 150 });
  expect(Array.from({ length: 5 }, () => pauses.next().value)).toEqual([25, 50, 100, 150, 150]);
});

test("retrying: work is repeated until it succeeds, and each repetition is reported", async () => {
  const work = vi.fn().mockRejectedValueOnce(fault).mockRejectedValueOnce(fault).mockResolvedValue("answer");
  const onRetry = vi.fn();
  expect(await retrying(work, { ...quick, onRetry })).toBe("answer");
  expect(work.mock.calls).toEqual([[1], [2], [3]]);
  expect(onRetry.mock.calls).toEqual([
    [fault, 1],
    [fault, 2],
  ]);
});

test("retrying: a failure that is not transient is thrown at once", async () => {
  const work = vi.fn().mockRejectedValue(fault);
  await expect(retrying(work, { ...quick, mayPass: (_error, attempts) => attempts < 2 })).rejects.toBe(fault);
  expect(work).toHaveBeenCalledTimes(2);
});

test("retrying: no attempt begins after the patience has run out", async () => {
  const work = vi.fn().mockRejectedValue(fault);
  await expect(retrying(work, { ...quick, firstMs: 60_000, longestMs: 60_000 })).rejects.toBe(fault);
  expect(work).toHaveBeenCalledTimes(1);
});

test("retrying: a patience that shrinks meanwhile counts from then on", async () => {
  let leftMs = 1_000;
  const work = vi.fn(async () => {
    leftMs -= 400;
    throw fault;
  });
  await expect(retrying(work, { ...quick, patienceMs: () => leftMs })).rejects.toBe(fault);
  expect(work).toHaveBeenCalledTimes(3);
});

test("retrying: a signal ends the pause", async () => {
  const controller = new AbortController();
  const work = vi.fn(async () => {
    setImmediate(() => controller.abort());
    throw fault;
  });
  const retries = { ...quick, firstMs: 5_000, longestMs: 5_000, signal: controller.signal };
  await expect(retrying(work, retries)).rejects.toMatchObject({ name: "AbortError" });
  expect(work).toHaveBeenCalledTimes(1);
});
