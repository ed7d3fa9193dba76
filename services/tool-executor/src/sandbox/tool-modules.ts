import { registerHooks } from "node:module";

const defineTool = new URL("../tool-definition/define-tool.ts", import.meta.url).href;

/**
 * Finds the modules that a tool's file names. Our own package is a link of the workspace: it is resolved here to its
 * one real file, since a link that may be read is a way out of what may be read. zod is the executor's where the folder
 * has none of its own.
 */
export function resolveToolModules(): void {
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "@turnwright/tool-executor/define-tool") return { url: defineTool, shortCircuit: true };
      try {
        return next(specifier, context);
      } catch (error) {
        if (/^zod(?:\/|$)/.test(specifier)) return next(specifier, { ...context, parentURL: import.meta.url });
        if (!isRefusal(error)) throw error;
        throw new Error(`${specifier} lies where tools may not read: put what a tool imports into its folder, packages too`, {
          cause: error,
        });
      }
    },
  });
}

function isRefusal(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === "ERR_ACCESS_DENIED" || code === "EACCES" || code === "EPERM" || code === "ERR_INVALID_PACKAGE_CONFIG";
}
