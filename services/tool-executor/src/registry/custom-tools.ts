import { readdir, realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Crowd } from "../sandbox/crowd.ts";
import type { SandboxPlace } from "../sandbox/sandbox.ts";
import { createSandboxPool, type SandboxPool } from "../sandbox/sandbox-pool.ts";
import { sandboxTool } from "../sandbox/sandboxed-tool.ts";
import type { ProbeResult, Tool } from "../tool-definition/define-tool.ts";
import type { RegisteredTool } from "../tool-definition/registered-tool.ts";
import { describedShape } from "../tool-definition/tool-shape.ts";
import { openToolsFolder } from "./tools-folder.ts";

/** A file of the folder, with its tool or the reason why it has none. */
export type LoadedTool =
  | { readonly file: string; readonly tool: RegisteredTool }
  | { readonly file: string; readonly fault: string };

/** The tools of a folder. Their code never runs in this process. */
export interface CustomTools {
  readonly loaded: readonly LoadedTool[];
  /** Ends their processes. */
  close(): void;
}

/** Files that load at once; each takes a process. */
const loadedAtOnce = 4;

/**
 * Loads the default export of every .ts, .js and .mjs file of a folder except tests, in the order of their names. The
 * folder is checked before any of its code runs.
 */
export async function loadCustomTools(dir: string, place: SandboxPlace, crowd = new Crowd(10)): Promise<CustomTools> {
  let folder: string;
  let files: string[];
  try {
    folder = await openToolsFolder(dir);
    files = await readdir(folder);
  } catch (error) {
    const fault = (error as { code?: unknown }).code === undefined ? messageOf(error) : `cannot be read: ${messageOf(error)}`;
    return { loaded: [{ file: resolve(dir), fault }], close() {} };
  }
  const sources = files.filter((file) => /\.(?:ts|js|mjs)$/.test(file) && !/\.(?:d|test)\.ts$/.test(file)).sort();
  const pools: SandboxPool[] = [];
  const loaded: LoadedTool[] = [];
  for (let at = 0; at < sources.length; at += loadedAtOnce) {
    const loading = sources.slice(at, at + loadedAtOnce).map(async (source) => {
      const file = join(folder, source);
      const pool = createSandboxPool({ file: await realpath(file), readable: [folder] }, place, { crowd });
      pools.push(pool);
      return loadTool(file, pool);
    });
    loaded.push(...(await Promise.all(loading)));
  }
  return {
    loaded,
    close() {
      for (const pool of pools) pool.close();
    },
  };
}

async function loadTool(file: string, pool: SandboxPool): Promise<LoadedTool> {
  try {
    // Checked again here: the process in which the file ran is not trusted.
    const { hasProbe, ...described } = describedShape.parse(await pool.describe());
    const tool: Tool = {
      ...described,
      parameters: described.parameters as Tool["parameters"],
      execute: (args, context) => pool.call("execute", args, context),
      ...(hasProbe ? { probe: async (args, context) => (await pool.call("probe", args, context)) as ProbeResult } : {}),
    };
    return { file, tool: sandboxTool(pool, tool) };
  } catch (error) {
    return { file, fault: messageOf(error) };
  }
}

/** The error's words on one line. */
function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ");
}
