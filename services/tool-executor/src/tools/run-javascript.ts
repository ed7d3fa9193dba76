import { join } from "node:path";
import { defineTool, type Tool } from "../define-tool.ts";
import { javascriptDefinition } from "../sandbox/javascript-definition.ts";
import type { SandboxLimits } from "../sandbox/sandbox.ts";
import { createSandboxPool } from "../sandbox/sandbox-pool.ts";

/** The tool run_javascript, and the end of its processes. None is started before the first call. */
export function createRunJavascript(limits: SandboxLimits): { tool: Tool; close(): void } {
  const file = join(import.meta.dirname, "../sandbox/javascript.ts");
  const pool = createSandboxPool(file, limits, javascriptDefinition.version);
  return {
    tool: defineTool({
      ...javascriptDefinition,
      execute: (args, { callKey, signal, logger }) => pool.call(args, { callKey, signal, logger }),
    }) as Tool,
    close: () => pool.close(),
  };
}
