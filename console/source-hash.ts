import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The folder of the console's package. */
export const consoleRoot = import.meta.dirname;

const isSource = (path: string) => !/(?:^|\/)(?:dist|node_modules|testing)(?:\/|$)|\.test\.tsx?$|\.md$/.test(path);

/** The files from which the console is built, by path from its package, in the order of their names. */
export function sourceFiles(root = consoleRoot): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (!isSource(path)) continue;
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile()) found.push(path);
    }
  };
  walk("");
  return found.sort();
}

/** A hash of everything that decides what the built console is: its sources and the versions of its packages. */
export function sourceHash(root = consoleRoot): string {
  const hash = createHash("sha256");
  const add = (name: string, path: string) => {
    const bytes = readFileSync(path);
    hash.update(`${name}\0${bytes.length}\0`).update(bytes);
  };
  for (const file of sourceFiles(root)) add(file, join(root, file));
  const lockfile = join(root, "../package-lock.json");
  if (existsSync(lockfile)) add("package-lock.json", lockfile);
  return hash.digest("hex").slice(0, 16);
}
