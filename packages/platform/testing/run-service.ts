/**
 * A test service, run as its own process by run-service.test.ts. SIGUSR2 makes it unready and causes an unhandled
 * rejection. With NEVER_CLOSES its shutdown does not end.
 */
import { z } from "zod";
import { port } from "../src/config/env.ts";
import { grpcEnv } from "../src/config/mesh-env.ts";
import { runService } from "../src/process/run-service.ts";
import { testMounts } from "./plane.ts";

await runService({ name: "auth", config: z.object({ ...grpcEnv, GRPC_PORT: port(0) }) }, async () => {
  let isReady = true;
  process.on("SIGUSR2", () => {
    isReady = false;
    void Promise.reject(new RangeError("12.5 cannot be converted to a BigInt"));
  });
  return {
    mounts: testMounts("fixture"),
    ready: () => (isReady ? Promise.resolve() : Promise.reject(new Error("not ready"))),
    underWay: () => ({ runs: 3 }),
    close: async () => {
      process.stdout.write('{"msg":"service closed"}\n');
      if (process.env.NEVER_CLOSES !== undefined) await new Promise(() => setInterval(() => {}, 60_000));
    },
  };
});
