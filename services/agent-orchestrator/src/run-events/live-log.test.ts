import { createLogger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { expect, test, vi } from "vitest";
import { LiveLog } from "./live-log.ts";

test("frames that cannot be sent end nothing: later ones are sent", async () => {
  vi.useFakeTimers();
  const sent: string[] = [];
  let isBroken = true;
  const bus: Pick<Bus, "publish"> = {
    publish(_topic, payload) {
      if (isBroken) throw new Error("broken bus");
      sent.push(payload);
      return Promise.resolve();
    },
  };
  const logger = createLogger({ service: "test", level: "silent" });
  const log = new LiveLog({ id: "run", seq: 0 }, { bus: bus as Bus, logger }, () => {});
  try {
    log.watched();
    log.emit({ type: "content", delta: "lost" });
    await vi.advanceTimersByTimeAsync(100);
    isBroken = false;
    log.emit({ type: "content", delta: "kept" });
    await vi.advanceTimersByTimeAsync(100);
    expect(sent.join()).toContain("kept");
  } finally {
    vi.useRealTimers();
  }
});
