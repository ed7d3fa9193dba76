import { createRequire, registerHooks } from "node:module";
import { pathToFileURL } from "node:url";

const ownRequire = createRequire(import.meta.url);
const defineTool = new URL("../tool-definition/define-tool.ts", import.meta.url).href;

/**
 * Resolves the modules that a tool's file imports. Our own package is a link of the workspace, and a readable link
 * would be a way out of the readable folders: its import is resolved here to the one real file. zod is the executor's
 * copy where the tools' folder has none.
 */
export function resolveToolModules(): void {
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "@turnwright/tool-executor/define-tool") return { url: defineTool, shortCircuit: true };
      try {
        return next(specifier, context);
      } catch (error) {
        if (/^zod(?:\/|$)/.test(specifier)) {
          if (!context.conditions.includes("require")) return next(specifier, { ...context, parentURL: import.meta.url });
          // Resolution for require() ignores another parent.
          return { url: pathToFileURL(ownRequire.resolve(specifier)).href, format: "commonjs", shortCircuit: true };
        }
        if (!isRefusal(error)) throw error;
        throw new Error(`${specifier} is outside the tools' folder: put everything that a tool imports into it, packages too`, {
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
