import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The text of every file of a tree, by its path from the root. */
export type SourceTree = ReadonlyMap<string, string>;

const read = /\.(tsx?|mjs|proto|md|pl)$|^packages\/platform\/package\.json$/;
const generated = /^(third_party|packages\/contract\/gen|console\/src\/api\/types\.ts|CHANGELOG\.md)/;

/** The files that Git tracks or would add, without generated ones. */
export function readSourceTree(root: string): SourceTree {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root });
  const files = [...new Set(listed.toString().split("\n"))].filter((file) => read.test(file) && !generated.test(file));
  return new Map(files.sort().flatMap((file) => textOf(root, file)));
}

function textOf(root: string, file: string): [string, string][] {
  try {
    return [[file, readFileSync(join(root, file), "utf8")]];
  } catch (error) {
    // Git lists a file that was deleted and not yet committed.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** The packages with product code: folder by name. */
export const packages: Readonly<Record<string, string>> = {
  platform: "packages/platform",
  testing: "packages/testing",
  auth: "services/auth",
  conversation: "services/conversation",
  "agent-orchestrator": "services/agent-orchestrator",
  "tool-executor": "services/tool-executor",
  gateway: "gateway",
  launcher: "launcher",
  console: "console",
};

/** The services: names of packages. */
export const services = ["auth", "conversation", "agent-orchestrator", "tool-executor"] as const;

/** Whether a file is a test. */
export const isTest = (file: string) => /\.test\.tsx?$/.test(file);

/** The product files of a package: TypeScript below `src`, without tests. */
export function sourcesOf(tree: SourceTree, folder: string): string[] {
  return [...tree.keys()].filter((file) => file.startsWith(`${folder}/src/`) && /\.tsx?$/.test(file) && !isTest(file));
}
