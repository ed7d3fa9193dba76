import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BuiltConsole, buildConsole, type ConsoleManifest } from "./build.ts";

let dist: string;
let first: BuiltConsole;
beforeAll(async () => {
  dist = mkdtempSync(join(tmpdir(), "turnwright-console-build-"));
  first = await buildConsole({ dist });
});
afterAll(() => rmSync(dist, { recursive: true }));

const bytesOf = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => [join(parentPath.slice(folder.length), name), readFileSync(join(parentPath, name), "hex")]),
  );

describe("the build of the console", () => {
  test("stands in a folder with the hash of its sources, and is made once", async () => {
    expect(first.folder).toBe(join(dist, first.hash));
    expect(first.isNew).toBe(true);
    expect(await buildConsole({ dist })).toEqual({ ...first, isNew: false });
    expect(readFileSync(join(dist, "current"), "utf8").trim()).toBe(first.hash);
    expect(readdirSync(dist).sort()).toEqual([first.hash, "current"].sort());
  });

  test("has the same bytes wherever it is built, twice at once and in a folder of its own", async () => {
    const other = mkdtempSync(join(tmpdir(), "turnwright-console-build-"));
    try {
      const [one, two] = await Promise.all([buildConsole({ dist: other }), buildConsole({ dist: other })]);
      expect(one.folder).toBe(two.folder);
      expect(bytesOf(one.folder)).toEqual(bytesOf(first.folder));
      expect(readdirSync(other).sort()).toEqual([first.hash, "current"].sort());
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  test("loads at first what its manifest names, and nothing inline or from elsewhere", () => {
    const manifest = JSON.parse(readFileSync(join(first.folder, "manifest.json"), "utf8")) as ConsoleManifest;
    const page = readFileSync(join(first.folder, "index.html"), "utf8");
    for (const path of [manifest.entry, manifest.style, ...manifest.preload]) expect(manifest.files).toContain(path);
    const named = [...page.matchAll(/(?:src|href)="\/console\/([^"]+)"/g)].map(([, path]) => path);
    for (const path of named) expect(manifest.files).toContain(path);
    expect(named).toEqual(expect.arrayContaining([manifest.entry, manifest.style, ...manifest.preload]));
    expect(page).not.toMatch(/%[A-Z]+%|<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|https?:\/\//);
    const all = Object.entries(bytesOf(first.folder)).map(([, hex]) => Buffer.from(hex, "hex").toString());
    for (const text of all) expect(text).not.toMatch(/\beval\(|new Function\(|sourceMappingURL|url\(["']?https?:/);
  });

  test("is at most 200 kB of script, compressed, and 40 kB of it at the first load", () => {
    const manifest = JSON.parse(readFileSync(join(first.folder, "manifest.json"), "utf8")) as ConsoleManifest;
    const zipped = (paths: readonly string[]) =>
      paths.reduce((sum, path) => sum + gzipSync(readFileSync(join(first.folder, path)), { level: 9 }).length, 0);
    const theme = manifest.files.filter((path) => path.includes("/theme-at-start-"));
    expect(zipped(manifest.files.filter((path) => path.endsWith(".js")))).toBeLessThanOrEqual(200_000);
    const atFirst = zipped([manifest.entry, ...manifest.preload, ...theme]);
    expect(atFirst).toBeLessThanOrEqual(40_000);
    // A limit that nothing nears would say nothing.
    expect(atFirst).toBeGreaterThan(10_000);
  });

  // Nobody, not even root, makes a folder there.
  test.skipIf(process.platform !== "linux")("stands in a temporary folder where the checkout cannot be written", async () => {
    const built = await buildConsole({ dist: "/sys/turnwright-console" });
    try {
      expect(built).toMatchObject({ isTemporary: true, isNew: true });
      expect(bytesOf(built.folder)).toEqual(bytesOf(first.folder));
    } finally {
      rmSync(built.folder, { recursive: true });
    }
  });
});
