import { fileURLToPath } from "node:url";
import { type BrokenFile, brokenFile, brokenFileVariable } from "./breakages/broken-source.ts";

const loopbackOnly = new URL("../packages/testing/src/loopback-only.ts", import.meta.url).href;
/** Compiled modules of the product, for the processes that start after the first one. */
export const compileCache = fileURLToPath(new URL("../node_modules/.cache/compiled", import.meta.url));

/**
 * Environment of every Node.js process that tests start: connections to loopback only, and the broken file to load, by
 * default that of this process.
 */
export function testedEnvironment(broken: BrokenFile | undefined = brokenFile()): Record<string, string> {
  if (broken === undefined) return { NODE_OPTIONS: `--import=${loopbackOnly}`, NODE_COMPILE_CACHE: compileCache };
  const breakCode = new URL("breakages/break-code.ts", import.meta.url).href;
  return {
    [brokenFileVariable]: JSON.stringify(broken),
    NODE_OPTIONS: `--import=${loopbackOnly} --import=${breakCode}`,
  };
}
