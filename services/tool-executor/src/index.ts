import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { createFailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import { mount, type RunningService } from "@turnwright/platform/rpc/mount";
import type pg from "pg";
import type { ToolConfig } from "./config.ts";
import type { ExecutorDeps } from "./handlers/deps.ts";
import { executionHandlers, toolHandlers } from "./handlers/mounts.ts";
import { DirectCallLog } from "./ledger/direct-call-log.ts";
import { Ledger } from "./ledger/ledger.ts";
import { startOutageWatch } from "./ledger/outage-watch.ts";
import { loadRegistry } from "./registry/registry.ts";
import { Slots } from "./running/slots.ts";
import { openWall } from "./sandbox/open-wall.ts";
import type { Tool } from "./tool-definition/define-tool.ts";
import { createToolOutbound } from "./tools/tool-outbound.ts";

export { toolConfig } from "./config.ts";
export { defineTool, type JsonSchema, type Tool, type ToolContext, type ToolEffect } from "./tool-definition/define-tool.ts";

/** The variables that the executor reads. */
type ExecutorConfig = Pick<
  ToolConfig,
  | "MESH_SECRET"
  | "MESH_SECRET_ACCEPTED"
  | "TOOLS_DIR"
  | "TOOLS_MEMORY_LIMIT"
  | "TOOLS_SANDBOX"
  | "TOOLS_MAX_CONCURRENT"
  | "TOOLS_ALLOWED_HOSTS"
  | "WEB_SEARCH_API_KEY"
  | "WEB_SEARCH_BASE_URL"
>;

/**
 * Starts the tool executor on a pool of its schema, which is migrated before. The caller ends the pool. Rejects with
 * ConfigError when a file of TOOLS_DIR is at fault, or when this system lacks the wall that TOOLS_SANDBOX requires.
 */
export async function startToolExecutor(deps: {
  config: ExecutorConfig;
  pool: pg.Pool;
  logger: Logger;
  /** More tools, for a program that embeds the executor; the names of built-in tools replace those. */
  tools?: readonly Tool[];
  /** Milliseconds without a renewal after which another process takes over a call; 5,000 unless given. */
  leaseMs?: number;
}): Promise<RunningService> {
  const { config, pool, logger, leaseMs = 5_000 } = deps;
  const outbound = createToolOutbound({ allowedHosts: config.TOOLS_ALLOWED_HOSTS });
  const { wall, level, line, because } = await openWall(config.TOOLS_SANDBOX);
  logger[level]({ sandbox: config.TOOLS_SANDBOX, ...(because === undefined ? {} : { because }) }, line);
  const registry = await loadRegistry({ config, outbound, wall, tools: deps.tools });
  const slots = new Slots(config.TOOLS_MAX_CONCURRENT);
  const outageWatch = startOutageWatch({ pool, leaseMs });
  const failures = createFailureLog(logger);
  const ledger = new Ledger({ pool, slots, logger, failures, leaseMs, outageWatch });
  const directCalls = new DirectCallLog({ pool, logger });
  const secrets = meshSecrets(config);
  const handlerDeps: ExecutorDeps = {
    pool,
    registry,
    ledger,
    outageWatch,
    directCalls,
    slots,
    logger,
    failures,
    meshSecrets: secrets,
  };
  return {
    mounts: [mount(ToolService, toolHandlers(handlerDeps)), mount(ExecutionService, executionHandlers(handlerDeps))],
    async ready() {
      await outageWatch.ready();
      await ledger.ready();
    },
    underWay: () => ({ tools: slots.taken }),
    drain: (limit) => ledger.drain(limit),
    async close() {
      await ledger.close();
      outageWatch.stop();
      await directCalls.idle();
      registry.close();
      await outbound.close();
    },
  };
}
