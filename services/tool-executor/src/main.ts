import { runStoredService } from "@turnwright/platform/process/run-service";
import { createToolExecutor, toolConfig } from "./index.ts";

await runStoredService({ name: "tool-executor", schema: "tool", config: toolConfig }, ({ config, logger }, { pool }) =>
  createToolExecutor({ config, pool, logger }),
);
