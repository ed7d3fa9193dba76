import { join } from "node:path";
import { defineTool, type Tool } from "../define-tool.ts";
import { type RegisteredTool, registerTool } from "../registered-tool.ts";
import type { Crowd } from "../sandbox/crowd.ts";
import { javascriptDefinition } from "../sandbox/javascript-definition.ts";
import type { SandboxLimits } from "../sandbox/sandbox.ts";
import { createSandboxPool } from "../sandbox/sandbox-pool.ts";

/** The tool run_javascript, and the end of its processes. None is started before the first call. */
export function createRunJavascript(limits: SandboxLimits, crowd?: Crowd): { registered: RegisteredTool; close(): void } {
  const file = join(import.meta.dirname, "../sandbox/javascript.ts");
  const pool = createSandboxPool(file, limits, { crowd, known: javascriptDefinition.version });
  const tool = defineTool({
    ...javascriptDefinition,
    execute: (args, context) => pool.call("execute", args, context),
  }) as Tool;
  return {
    registered: { ...registerTool(tool), prepare: (signal) => pool.prepare(signal) },
    close: () => pool.close(),
  };
}
