import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";

/** Entries of a folder with tools; one with more holds other things too. */
const maxEntries = 200_000;
const productRoot = resolve(import.meta.dirname, "../../../..");

/**
 * The real path of a folder with tools. Their code may read all of it, so it must lead nowhere else. Rejects with every
 * reason why it does, each with its path.
 */
export async function openToolsFolder(dir: string): Promise<string> {
  const folder = await realpath(dir);
  // Node's permissions would read it as a pattern.
  if (folder.includes("*")) throw new Error("its path must not hold a *");
  for (const [kept, what] of [
    [productRoot, "Turnwright itself"],
    [process.cwd(), "the folder that Turnwright was started in"],
  ] as const) {
    if (holds(folder, await realpath(kept))) throw new Error(`must not hold ${what}: tools can read all of it`);
  }
  const faults = await findFaults(folder);
  if (faults.length > 0) throw new Error(faults.join("; "));
  return folder;
}

function holds(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

async function findFaults(folder: string): Promise<string[]> {
  const faults: string[] = [];
  let entries = 0;
  const open = [folder];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      entries += 1;
      if (entries > maxEntries) throw new Error(`holds more than ${maxEntries} files`);
      const path = join(at, entry.name);
      if (entry.isDirectory()) open.push(path);
      else if (entry.isSymbolicLink()) faults.push(...(await linkFaults(folder, path)));
      else if (at === folder && /^\.env(?:\.|$)/.test(entry.name))
        faults.push(`${path}: tools could read it; keep secrets elsewhere`);
    }
    if (faults.length >= 10) break;
  }
  return faults;
}

const depthOf = (folder: string, path: string) =>
  relative(folder, path)
    .split(sep)
    .filter((name) => name !== "").length;

/**
 * Node's permissions judge a path by its text, the kernel follows its links: to Node `link/../x` is inside the folder,
 * to the kernel it may be elsewhere. The two agree on every path as long as each link stays inside the folder and leads
 * to no folder nearer to the top than the link itself.
 */
async function linkFaults(folder: string, link: string): Promise<string[]> {
  const target = await realpath(link).catch(() => undefined);
  if (target === undefined) return [`${link}: a link to ${await readlink(link)}, which is not there`];
  if (!holds(folder, target)) return [`${link}: a link to ${target}, outside of the folder`];
  const kind = await stat(target);
  if (!kind.isDirectory() || depthOf(folder, target) >= depthOf(folder, link)) return [];
  return [`${link}: a link to ${target}, nearer to the top than itself`];
}
