import { expect, test, vi } from "vitest";
import { watchReadiness } from "./readiness.ts";

test("a readiness watch goes on although its listener throws, and although the check hangs", async () => {
  vi.useFakeTimers();
  const tell = vi.fn(() => {
    throw new Error("broken listener");
  });
  let checks = 0;
  const ready = () => {
    checks += 1;
    return checks === 2 ? new Promise<void>((resolve) => setTimeout(resolve, 5_000)) : Promise.resolve();
  };
  const watch = watchReadiness({ ready, tell });
  try {
    await vi.advanceTimersByTimeAsync(10_000);
    expect(checks).toBeGreaterThan(3);
    expect(tell).toHaveBeenCalledTimes(checks + 1);
  } finally {
    watch.stop();
    vi.useRealTimers();
  }
});
