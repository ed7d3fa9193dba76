import { findPackageJSON } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { behindWall, nodeProgram, opensslConfig, type Wall } from "./wall.ts";

/** The code of one tool. */
export interface ToolCode {
  /** The file that exports the tool, by its real path. */
  readonly file: string;
  /** Real paths that it may read besides the sandbox's own files: files, and folders with everything below them. */
  readonly readable: readonly string[];
}

const here = import.meta.dirname;
const childFile = join(here, "child.ts");

/** A package's folder. Nothing leads out of it: packages of the registry hold no links, and its parent is not named. */
export function packageFolder(name: string): string {
  const manifest = findPackageJSON(name, import.meta.url);
  if (manifest === undefined) throw new Error(`the package ${name} is not installed`);
  return dirname(manifest);
}

/**
 * Exactly the files that child.ts loads, one by one. Our folders would bring other source files in, and node_modules
 * the links of the workspace.
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

/** The package.json by which Node tells whether a file is an ES module. */
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
    // SQLite opens files without asking the permission model.
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
  // Limits processor time, and the size of files and core dumps to 0, so that nothing can be left behind.
  const limit = `ulimit -t ${limits.cpuSeconds} 2>/dev/null; ulimit -f 0; ulimit -c 0; exec "$@"`;
  return ["/bin/sh", "-c", limit, "sh", ...behindWall(wall, readable, node)];
}
