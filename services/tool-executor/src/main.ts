import { onTermination } from "@turnwright/platform/process/termination";

onTermination();
// Loaded under the handler: process 1 of a container ignores signals that have none.
const [{ runStoredService }, { startToolExecutor, toolConfig }] = await Promise.all([
  import("@turnwright/platform/process/run-service"),
  import("./index.ts"),
]);
await runStoredService({ name: "tool-executor", schema: "tool", config: toolConfig }, ({ config, logger }, { pool }) =>
  startToolExecutor({ config, pool, logger }),
);
