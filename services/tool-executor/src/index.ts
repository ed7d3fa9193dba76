import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";
import type { Logger } from "@turnwright/platform/logger";
import { mount, type RunningService } from "@turnwright/platform/rpc/mount";
import type pg from "pg";
import type { ToolConfig } from "./config.ts";
import type { ExecutorParts } from "./handlers/deps.ts";
import { executionHandlers, toolHandlers } from "./handlers/mounts.ts";
import { FreeCallLog } from "./ledger/direct-call-log.ts";
import { Ledger } from "./ledger/ledger.ts";
import { LedgerWatch } from "./ledger/outage-watch.ts";
import { createRegistry } from "./registry/registry.ts";
import { Slots } from "./running/slots.ts";
import { openWall } from "./sandbox/open-wall.ts";
import type { Tool } from "./tool-definition/define-tool.ts";
import { createToolOutbound } from "./tools/tool-outbound.ts";

export { toolConfig } from "./config.ts";
export { defineTool, type JsonSchema, type Tool, type ToolContext, type ToolEffect } from "./tool-definition/define-tool.ts";

/** What the executor reads of its environment. */
type ExecutorConfig = Pick<
  ToolConfig,
  | "MESH_SECRET"
  | "TOOLS_DIR"
  | "TOOLS_MEMORY_LIMIT"
  | "TOOLS_SANDBOX"
  | "TOOLS_MAX_CONCURRENT"
  | "TOOLS_ALLOWED_HOSTS"
  | "WEB_SEARCH_API_KEY"
  | "WEB_SEARCH_BASE_URL"
>;

/**
 * Makes the tool executor on a pool of its schema, which stays the caller's to end. The schema is migrated before.
 * Rejects with ConfigError when a file of TOOLS_DIR is at fault, or the wall that TOOLS_SANDBOX requires is not to be
 * had.
 */
export async function createToolExecutor(deps: {
  config: ExecutorConfig;
  pool: pg.Pool;
  logger: Logger;
  /** More tools, for a program that embeds the executor; the names of built-in tools replace those. */
  tools?: readonly Tool[];
  /** Milliseconds after which a process that stopped renewing its calls is taken for dead; 5 s unless given. */
  leaseMs?: number;
}): Promise<RunningService> {
  const { config, pool, logger, leaseMs = 5_000 } = deps;
  const outbound = createToolOutbound({ allowedHosts: config.TOOLS_ALLOWED_HOSTS });
  const { wall, level, line, because } = await openWall(config.TOOLS_SANDBOX);
  logger[level]({ sandbox: config.TOOLS_SANDBOX, ...(because === undefined ? {} : { because }) }, line);
  const registry = await createRegistry({ config, outbound, wall, tools: deps.tools });
  const slots = new Slots(config.TOOLS_MAX_CONCURRENT);
  const watch = new LedgerWatch({ pool, leaseMs });
  const ledger = new Ledger({ pool, slots, logger, leaseMs, watch });
  const freeCalls = new FreeCallLog({ pool, logger });
  const parts: ExecutorParts = { pool, registry, ledger, watch, freeCalls, slots, logger, meshSecret: config.MESH_SECRET };
  return {
    mounts: [mount(ToolService, toolHandlers(parts)), mount(ExecutionService, executionHandlers(parts))],
    async ready() {
      await watch.ready();
      await ledger.ready();
    },
    drain: (limit) => ledger.drain(limit),
    async close() {
      await ledger.close();
      watch.stop();
      await freeCalls.idle();
      registry.close();
      await outbound.close();
    },
  };
}
