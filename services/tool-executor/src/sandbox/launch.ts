import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { behindWall, nodeProgram, opensslConfig, type Wall } from "./wall.ts";

/** The code of one tool. */
export interface ToolCode {
  /** The file that exports the tool, by its real path. */
  readonly file: string;
  /** What it may read besides the sandbox's own files: files, and folders with all below them, by their real paths. */
  readonly readable: readonly string[];
}

const here = import.meta.dirname;
const childFile = join(here, "child.ts");

/**
 * A package's folder. Packages of the registry hold no links, and the folder is named itself: no way leads out of it.
 */
export function packageFolder(name: string): string {
  const manifest = findPackageJSON(name, import.meta.url);
  if (manifest === undefined) throw new Error(`the package ${name} is not installed`);
  return dirname(manifest);
}

/**
 * Every file that child.ts loads, one by one: a folder of ours would have its neighbours in it, node_modules links of
 * the workspace.
 */
function ownFiles(): string[] {
  const files = ["child.ts", "child-fetch.ts", "frames.ts", "messages.ts", "taken-away.ts", "tool-modules.ts"];
  return [
    ...files.map((file) => join(here, file)),
    join(here, "../tool-definition/define-tool.ts"),
    join(here, "../tool-definition/header-fields.ts"),
    join(here, "../tool-definition/tool-hosts.ts"),
    join(here, "../tool-definition/tool-shape.ts"),
    join(here, "../../package.json"),
    packageFolder("zod"),
  ];
}

let own: readonly string[] | undefined;

/** The manifest that Node reads to know what kind of module a file is. */
function manifestOf(file: string): string[] {
  const manifest = findPackageJSON(pathToFileURL(file).href, pathToFileURL(file).href);
  return manifest === undefined ? [] : [manifest];
}

/** The command line of a sandbox: Node with its permissions, behind the wall. */
export function sandboxCommand(code: ToolCode, wall: Wall, limits: { heapMegabytes: number; cpuSeconds: number }): string[] {
  own ??= ownFiles();
  const readable = [...new Set([...code.readable, ...manifestOf(code.file), ...own])];
  const node = [
    nodeProgram,
    "--permission",
    ...readable.map((path) => `--allow-fs-read=${path}`),
    // SQLite opens files that the permissions do not know of.
    "--no-experimental-sqlite",
    "--no-experimental-websocket",
    "--disable-proto=delete",
    `--openssl-config=${opensslConfig}`,
    `--max-old-space-size=${limits.heapMegabytes}`,
    "--disable-warning=ExperimentalWarning",
    "--disable-warning=SecurityWarning",
    childFile,
    code.file,
  ];
  // Processor time; no file longer than nothing, no core: whatever writes, it leaves nothing behind.
  const limit = `ulimit -t ${limits.cpuSeconds} 2>/dev/null; ulimit -f 0; ulimit -c 0; exec "$@"`;
  return ["/bin/sh", "-c", limit, "sh", ...behindWall(wall, readable, node)];
}
