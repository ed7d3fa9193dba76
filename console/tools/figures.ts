/**
 * Prints the sizes of the built console, compressed by gzip, and fails above the limits.
 *
 *     node console/tools/figures.ts
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { buildConsole, type ConsoleManifest } from "../build.ts";

const limits = { all: 200_000, first: 40_000 };

const { folder } = await buildConsole();
const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as ConsoleManifest;
const sizes = manifest.files.map((file) => {
  const bytes = readFileSync(join(folder, file));
  return { file, raw: bytes.length, zipped: gzipSync(bytes, { level: 9 }).length };
});
const sum = (wanted: (file: string) => boolean) =>
  sizes.filter(({ file }) => wanted(file)).reduce((total, { zipped }) => total + zipped, 0);
const first = new Set([manifest.entry, ...manifest.preload, ...manifest.files.filter((file) => file.includes("theme-at-start"))]);
const scripts = sum((file) => file.endsWith(".js"));
const atFirst = sum((file) => first.has(file));

const kilobytes = (bytes: number) => `${(bytes / 1_000).toFixed(1)} kB`;
for (const { file, raw, zipped } of sizes.sort((a, b) => b.zipped - a.zipped)) {
  const mark = first.has(file) ? "first load" : "";
  process.stdout.write(`${kilobytes(zipped).padStart(9)} of ${kilobytes(raw).padStart(9)}  ${file}  ${mark}\n`);
}
process.stdout.write(`JavaScript in all: ${kilobytes(scripts)}, at most ${kilobytes(limits.all)}\n`);
process.stdout.write(`JavaScript at the first load: ${kilobytes(atFirst)}, at most ${kilobytes(limits.first)}\n`);
if (scripts > limits.all || atFirst > limits.first) {
  process.stderr.write("The console is larger than it may be.\n");
  process.exitCode = 1;
}
