import { expect, test, vi } from "vitest";
import type { Logger } from "../logger.ts";
import { guarded } from "./guarded.ts";

const fault = new Error("broken");

test.each([
  [
    "throws",
    () => {
      throw fault;
    },
  ],
  ["rejects", () => Promise.reject(fault)],
])("work that %s is logged with its step, and its timer goes on", async (_how, work) => {
  vi.useFakeTimers();
  const error = vi.fn();
  const timer = setInterval(guarded({ error } as unknown as Logger, "pruning", work), 1_000);
  try {
    await vi.advanceTimersByTimeAsync(3_000);
    expect(error.mock.calls).toEqual(Array(3).fill([{ err: fault, step: "pruning" }, "background work failed"]));
  } finally {
    clearInterval(timer);
    vi.useRealTimers();
  }
});
