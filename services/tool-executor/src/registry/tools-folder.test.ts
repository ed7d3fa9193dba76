import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openToolsFolder } from "./tools-folder.ts";

let base: string;
let tools: string;
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "tools folder-")));
  tools = join(base, "tools");
  for (const folder of ["tools/lib/deep", "tools/node_modules/.pnpm/a@1/node_modules/a", "other"]) {
    mkdirSync(join(base, folder), { recursive: true });
  }
  writeFileSync(join(base, "other/secret"), "");
  writeFileSync(join(tools, "shared.mjs"), "");
});
afterEach(() => rmSync(base, { recursive: true }));

const link = (at: string, to: string) => symlinkSync(to, join(tools, at));

test("a folder opens by its real path, and may hold links to files or to deeper folders", async () => {
  link("again.mjs", "shared.mjs");
  link("lib/up.mjs", "../shared.mjs");
  link("node_modules/a", ".pnpm/a@1/node_modules/a");
  link("shortcut", "lib/deep");
  symlinkSync(tools, join(base, "given"));
  expect(await openToolsFolder(join(base, "given"))).toBe(tools);
});

test.each([
  ["out", "/etc", "a link to /etc, outside of the folder"],
  ["out", "../other", "/other, outside of the folder"],
  ["out.mjs", "../other/secret", "/other/secret, outside of the folder"],
  ["lib/deep/out", "../../../other", "/other, outside of the folder"],
  ["lib/deep/top", "../..", "nearer to the top than itself"],
  ["lib/deep/near", "..", "nearer to the top than itself"],
  ["gone", "nothing", "a link to nothing, which is not there"],
])("a link %s to %s is refused by its path", async (at, to, why) => {
  link(at, to);
  await expect(openToolsFolder(tools)).rejects.toThrow(new RegExp(`^${join(tools, at)}: .*${why}`));
});

test("a chain of links is judged by its end", async () => {
  link("lib/first", "../second");
  link("second", base);
  await expect(openToolsFolder(tools)).rejects.toThrow(/lib\/first: a link to .*outside of the folder/);
});

test("a link nearer to the top would let `link/..` leave the folder, as the kernel follows the link first", async () => {
  const { readFileSync } = await import("node:fs");
  link("lib/deep/top", "../..");
  writeFileSync(join(base, "secret"), "read");
  // By its text this is tools/lib/secret.
  expect(readFileSync(`${tools}/lib/deep/top/../secret`, "utf8")).toBe("read");
});

test("a folder that holds Turnwright, its working folder, or an environment file is refused", async () => {
  const root = resolve(import.meta.dirname, "../../../..");
  await expect(openToolsFolder(root)).rejects.toThrow("must not hold Turnwright itself");
  await expect(openToolsFolder(join(root, ".."))).rejects.toThrow("must not hold Turnwright itself");
  await expect(openToolsFolder("/")).rejects.toThrow("must not hold Turnwright itself");
  writeFileSync(join(tools, ".env"), "SECRET=1");
  await expect(openToolsFolder(tools)).rejects.toThrow(/\.env: tools could read it/);
});

test("a path with a pattern is refused", async () => {
  mkdirSync(join(base, "to*ls"));
  await expect(openToolsFolder(join(base, "to*ls"))).rejects.toThrow("must not hold a *");
});
