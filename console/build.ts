import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { BuildOptions, Metafile } from "esbuild";
import { consoleRoot, sourceFiles, sourceHash } from "./source-hash.ts";

/** A built console. */
export interface BuiltConsole {
  /** The folder with `manifest.json`, `index.html` and `assets/`. */
  readonly folder: string;
  /** The hash of the sources that it was built from. */
  readonly hash: string;
  /** Whether this call built it, and no earlier one. */
  readonly isNew: boolean;
  /** Whether the folder is a temporary one that the caller removes at its end. */
  readonly isTemporary: boolean;
}

/** The content of `manifest.json`. */
export interface ConsoleManifest {
  readonly hash: string;
  /** Paths below the folder, of the entry, of what it loads at once, and of the style sheet. */
  readonly entry: string;
  readonly preload: readonly string[];
  readonly style: string;
  /** Every file that is served besides the page. */
  readonly files: readonly string[];
}

const options = {
  absWorkingDir: consoleRoot,
  bundle: true,
  format: "esm",
  splitting: true,
  minify: true,
  target: ["chrome111", "firefox113", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  legalComments: "none",
  define: { "process.env.NODE_ENV": '"production"' },
  metafile: true,
  write: false,
  logLevel: "silent",
} satisfies BuildOptions;

/** All style sheets in one: those of the components, then those of the pages. */
function styleSheet(): string {
  const sheets = sourceFiles().filter((file) => file.startsWith("src/") && file.endsWith(".css"));
  const isBase = (file: string) => file.startsWith("src/styles/");
  const ordered = [...sheets.filter(isBase), ...sheets.filter((file) => !isBase(file))];
  return ordered.map((file) => `@import "./${file}";\n`).join("");
}

/** The chunks that an output imports statically, directly or through others. */
function staticImports({ outputs }: Metafile, entry: string): string[] {
  const found = new Set<string>();
  const walk = (name: string) => {
    for (const { path, kind } of outputs[name]?.imports ?? []) {
      if (kind !== "import-statement" || found.has(path)) continue;
      found.add(path);
      walk(path);
    }
  };
  walk(entry);
  return [...found].sort();
}

/** Builds into an empty folder. */
async function buildInto(folder: string, hash: string): Promise<void> {
  const { build, stop } = await import("esbuild");
  try {
    const outdir = join(folder, "assets");
    mkdirSync(outdir, { recursive: true });
    const [script, theme, style] = await Promise.all([
      build({ ...options, entryPoints: ["src/main.tsx"], outdir }),
      build({ ...options, entryPoints: ["src/theme-at-start.ts"], splitting: false, format: "iife", outdir }),
      build({
        ...options,
        splitting: false,
        stdin: { contents: styleSheet(), loader: "css", resolveDir: consoleRoot, sourcefile: "console.css" },
        entryNames: "console-[hash]",
        outdir,
      }),
    ]);
    const icon = readFileSync(join(consoleRoot, "src/icon.svg"));
    const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8)}.svg`;
    writeFileSync(join(outdir, iconName), icon);
    const files = [iconName];
    for (const { path, contents } of [script, theme, style].flatMap(({ outputFiles }) => outputFiles)) {
      files.push(basename(path));
      writeFileSync(join(outdir, basename(path)), contents);
    }
    const named = (start: string, end: string) =>
      `assets/${files.find((file) => file.startsWith(`${start}-`) && file.endsWith(end)) ?? ""}`;
    const entryOutput = Object.entries(script.metafile.outputs).find(([, { entryPoint }]) => entryPoint === "src/main.tsx")?.[0];
    const entry = named("main", ".js");
    const manifest: ConsoleManifest = {
      hash,
      entry,
      preload: staticImports(script.metafile, entryOutput ?? "").map((path) => `assets/${basename(path)}`),
      style: named("console", ".css"),
      files: files.map((file) => `assets/${file}`).sort(),
    };
    const page = readFileSync(join(consoleRoot, "src/index.html"), "utf8")
      .replace("%ICON%", `/console/assets/${iconName}`)
      .replace("%STYLE%", `/console/${manifest.style}`)
      .replace("%THEME%", `/console/${named("theme-at-start", ".js")}`)
      .replace("%SCRIPT%", `/console/${manifest.entry}`)
      .replace("%PRELOAD%", manifest.preload.map((path) => `<link rel="modulepreload" href="/console/${path}">`).join("\n"));
    writeFileSync(join(folder, "index.html"), page);
    writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  } finally {
    await stop();
  }
}

/** Names the build that is served where no folder is given. */
function makeCurrent(dist: string, hash: string): void {
  const next = join(dist, `.current-${process.pid}`);
  writeFileSync(next, `${hash}\n`);
  renameSync(next, join(dist, "current"));
}

function isCurrent(dist: string, hash: string): boolean {
  try {
    return readFileSync(join(dist, "current"), "utf8").trim() === hash;
  } catch {
    return false;
  }
}

function isReadOnly(error: unknown): boolean {
  return ["EROFS", "EACCES", "EPERM", "ENOSPC"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** The build under way in this process: the next waits for it, because they share one esbuild. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Builds the console into `console/dist/<hash>/`, unless that folder exists: the hash is that of the sources and of the
 * lockfile. In a checkout that cannot be written, it builds into a temporary folder. Fails without esbuild.
 */
export function buildConsole({ dist = join(consoleRoot, "dist") }: { dist?: string } = {}): Promise<BuiltConsole> {
  const building = last.then(() => buildUnlessBuilt(dist));
  last = building.catch(() => {});
  return building;
}

async function buildUnlessBuilt(dist: string): Promise<BuiltConsole> {
  const hash = sourceHash();
  const folder = join(dist, hash);
  if (existsSync(join(folder, "manifest.json"))) {
    if (!isCurrent(dist, hash)) makeCurrent(dist, hash);
    return { folder, hash, isNew: false, isTemporary: false };
  }
  let working: string;
  try {
    mkdirSync(dist, { recursive: true });
    working = mkdtempSync(join(dist, ".building-"));
  } catch (error) {
    if (!isReadOnly(error)) throw error;
    const temporary = mkdtempSync(join(tmpdir(), "turnwright-console-"));
    await buildInto(temporary, hash);
    return { folder: temporary, hash, isNew: true, isTemporary: true };
  }
  try {
    await buildInto(working, hash);
    // A server under another account reads it as well.
    chmodSync(working, 0o755);
    try {
      renameSync(working, folder);
    } catch (error) {
      // Another process has built the same meanwhile.
      if (!existsSync(join(folder, "manifest.json"))) throw error;
    }
    makeCurrent(dist, hash);
  } finally {
    rmSync(working, { recursive: true, force: true });
  }
  return { folder, hash, isNew: true, isTemporary: false };
}

if (import.meta.main) {
  const startedAt = performance.now();
  const { folder, isNew } = await buildConsole();
  const took = isNew ? `built in ${Math.round(performance.now() - startedAt)} ms` : "is up to date";
  process.stdout.write(`${folder}: ${took}, ${readdirSync(join(folder, "assets")).length} files\n`);
}
