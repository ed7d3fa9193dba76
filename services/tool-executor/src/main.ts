import { runStoredService } from "@turnwright/platform/process/run-service";
import { startToolExecutor, toolConfig } from "./index.ts";

await runStoredService({ name: "tool-executor", schema: "tool", config: toolConfig }, ({ config, logger }, { pool }) =>
  startToolExecutor({ config, pool, logger }),
);
