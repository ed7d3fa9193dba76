import { join } from "node:path";
import type { Crowd } from "../sandbox/crowd.ts";
import { javascriptDefinition } from "../sandbox/javascript-definition.ts";
import { packageFolder } from "../sandbox/launch.ts";
import type { SandboxPlace } from "../sandbox/sandbox.ts";
import { createSandboxPool } from "../sandbox/sandbox-pool.ts";
import { defineTool, type Tool } from "../tool-definition/define-tool.ts";
import { type RegisteredTool, registerTool } from "../tool-definition/registered-tool.ts";

const packages = ["quickjs-emscripten-core", "@jitl/quickjs-ffi-types", "@jitl/quickjs-wasmfile-release-sync"];

/** The tool run_javascript; `close` ends its processes. None starts before the first call. */
export function createRunJavascript(place: SandboxPlace, crowd?: Crowd): { registered: RegisteredTool; close(): void } {
  const [file = "", definition = ""] = ["javascript.ts", "javascript-definition.ts"].map((name) =>
    join(import.meta.dirname, "../sandbox", name),
  );
  const code = { file, readable: [file, definition, ...packages.map(packageFolder)] };
  const pool = createSandboxPool(code, place, { crowd, known: javascriptDefinition.version });
  const tool = defineTool({
    ...javascriptDefinition,
    execute: (args, context) => pool.call("execute", args, context),
  }) as Tool;
  return {
    registered: { ...registerTool(tool), prepare: (signal) => pool.prepare(signal) },
    close: () => pool.close(),
  };
}
