import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BrokenFile, brokenFile, brokenFileVariable } from "./breakages/broken-source.ts";

const loopbackOnly = new URL("../packages/testing/src/loopback-only.ts", import.meta.url).href;
/** Compiled modules of the product, for the processes that start after the first one. */
export const compileCache = fileURLToPath(new URL("../node_modules/.cache/compiled", import.meta.url));

/** Names what decides to which file an import leads: Node.js, the installed packages and the exports of our own. */
function stateOfPackages(): string {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const hash = createHash("sha256").update(process.version);
  const own = globSync(
    ["package.json", "package-lock.json", "{gateway,launcher,tests}/package.json", "{packages,services}/*/package.json"],
    {
      cwd: root,
    },
  );
  for (const file of own.sort()) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest("hex").slice(0, 16);
}

let resolvedModules: string | undefined;

/** The module that spares a process the resolution of its imports. */
function moduleResolution(): string {
  resolvedModules ??= new URL(`resolved-modules.ts?state=${stateOfPackages()}`, import.meta.url).href;
  return resolvedModules;
}

/**
 * Environment of every Node.js process that tests start: connections to loopback only, and the broken file to load, by
 * default that of this process.
 */
export function testedEnvironment(broken: BrokenFile | undefined = brokenFile()): Record<string, string> {
  if (broken === undefined) {
    return {
      NODE_OPTIONS: `--import=${moduleResolution()} --import=${loopbackOnly}`,
      NODE_COMPILE_CACHE: compileCache,
    };
  }
  const breakCode = new URL("breakages/break-code.ts", import.meta.url).href;
  return {
    [brokenFileVariable]: JSON.stringify(broken),
    NODE_OPTIONS: `--import=${loopbackOnly} --import=${breakCode}`,
  };
}
