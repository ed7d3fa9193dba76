import { type BrokenFile, brokenFile, brokenFileVariable } from "./breakages/broken-source.ts";

const loopbackOnly = new URL("../packages/testing/src/loopback-only.ts", import.meta.url).href;

/**
 * The variables of every Node.js process that tests start: it connects to this machine alone, and loads a file broken
 * where one shall be, as this process does unless another one is given.
 */
export function testedEnvironment(broken: BrokenFile | undefined = brokenFile()): Record<string, string> {
  if (broken === undefined) return { NODE_OPTIONS: `--import=${loopbackOnly}` };
  const breakCode = new URL("breakages/break-code.ts", import.meta.url).href;
  return {
    [brokenFileVariable]: JSON.stringify(broken),
    NODE_OPTIONS: `--import=${loopbackOnly} --import=${breakCode}`,
  };
}
