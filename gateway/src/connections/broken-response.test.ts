import { createLogger } from "@turnwright/platform/logger";
import type { FastifyReply, FastifyRequest } from "fastify";
import { expect, test, vi } from "vitest";
import { watchStalledReaders } from "./stalled-readers.ts";

test("a response that cannot be checked hides no stalled one behind it", async () => {
  vi.useFakeTimers();
  const broken = {
    get writableLength(): number {
      throw new TypeError("broken socket");
    },
  };
  const resetAndDestroy = vi.fn();
  const stalled = { writableLength: 1_000, socket: { bytesWritten: 5, writableLength: 5, resetAndDestroy } };
  const open = new Map(
    [broken, stalled].map((raw, index) => [
      { id: `r${index}`, routeOptions: { url: "/" } } as unknown as FastifyRequest,
      { raw } as unknown as FastifyReply,
    ]),
  );
  const stop = watchStalledReaders({ open, limitMs: 1_000, logger: createLogger({ service: "test", level: "silent" }) });
  try {
    await vi.advanceTimersByTimeAsync(2_000);
    expect(resetAndDestroy).toHaveBeenCalledTimes(1);
  } finally {
    stop();
    vi.useRealTimers();
  }
});
