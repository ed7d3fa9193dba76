import { credentials } from "@grpc/grpc-js";
import { expect, test, vi } from "vitest";
import { startFreezableProxy } from "../../testing/freezable-proxy.ts";
import { createLogger } from "../logger.ts";
import { Instance, Rank } from "./grpc-instance.ts";
import { startGrpcServer } from "./grpc-server.ts";

const logger = createLogger({ service: "test", level: "silent" });

test("a call that may not move is not cut for a time in which this process itself did not run", async () => {
  const server = await startGrpcServer({ mounts: [], interceptors: [], host: "127.0.0.1", port: 0, logger });
  const proxy = await startFreezableProxy(server.port);
  const instance = new Instance(`127.0.0.1:${proxy.port}`, credentials.createInsecure(), {});
  try {
    await expect.poll(() => instance.rank()).toBe(Rank.GOOD);
    proxy.freeze();
    const call = { cancel: vi.fn() };
    instance.opened(call, false);
    const askedAt = performance.now() + 2_000;
    instance.watch(askedAt);
    instance.watch(askedAt + 1_100);
    expect(instance.rank()).toBe(Rank.SILENT);
    instance.forgive(60_000);
    instance.giveUp(askedAt + 61_100);
    expect(call.cancel).not.toHaveBeenCalled();
    instance.giveUp(askedAt + 66_100);
    expect(call.cancel).toHaveBeenCalledOnce();
  } finally {
    instance.close();
    await proxy.close();
    await server.close(0);
  }
});
