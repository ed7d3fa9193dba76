/**
 * Preloaded into a process: takes the files to which imports lead from an earlier process with the same main module.
 * Node.js resolves the thousand modules of the product anew in each process, which is a quarter of a start. The query
 * of this module's URL names the state of the installed packages (tested-environment.ts).
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join, relative } from "node:path";

/** Address of a module, relative to the root, and its format. */
type Resolved = readonly [url: string, format: string | null | undefined];

const root = new URL("..", import.meta.url).href;
const folder = join(import.meta.dirname, "../node_modules/.cache/resolved");
const mains = process.argv.slice(1, 3).filter((path) => /\.[cm]?[jt]s$/.test(path));
const state = new URL(import.meta.url).searchParams.get("state");
const names = [state, ...mains.map((path) => relative(join(import.meta.dirname, ".."), path))];
const file = join(folder, `${names.join("-").replaceAll(/[^\w.-]+/g, "-")}.json`);
/** By importing module, then by the words of the import. */
const resolved = knownModules();
let isNew = false;

function knownModules(): Record<string, Record<string, Resolved>> {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {};
  }
}

/** Keeps what this process resolved for the next one; other processes may do so at the same time. */
function save(): void {
  if (!isNew) return;
  isNew = false;
  try {
    mkdirSync(folder, { recursive: true });
    const whole = `${file}.${process.pid}`;
    writeFileSync(whole, JSON.stringify(resolved));
    renameSync(whole, file);
  } catch {
    // The next process resolves anew.
  }
}

registerHooks({
  resolve(specifier, context, next) {
    const { parentURL, conditions } = context;
    // CommonJS has a cache of its own.
    if (!parentURL?.startsWith(root) || specifier.startsWith("node:") || conditions.includes("require")) {
      return next(specifier, context);
    }
    const parent = parentURL.slice(root.length);
    const known = resolved[parent]?.[specifier];
    if (known !== undefined) return { url: root + known[0], format: known[1], shortCircuit: true };
    const result = next(specifier, context);
    if (result.url.startsWith(root)) {
      const imports = resolved[parent] ?? {};
      resolved[parent] = imports;
      imports[specifier] = [result.url.slice(root.length), result.format];
      isNew = true;
    }
    return result;
  },
});
// Most tested processes do not end by themselves, and many are killed.
setTimeout(save, 3_000).unref();
process.on("exit", save);
