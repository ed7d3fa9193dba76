import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { ConfigError } from "../config/env.ts";
import { createLogger } from "../logger.ts";
import { dataDirectoryFault } from "./data-directory.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";

const logger = createLogger({ service: "test", level: "silent" });
const dir = mkdtempSync(join(tmpdir(), "turnwright-data-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = join(dir, "file");
writeFileSync(file, "");
const circle = join(dir, "circle");
symlinkSync(circle, circle);

test.each([
  ["a file", file, "is a file instead of a directory"],
  ["below a file", join(file, "data"), "is below a file"],
  // Nobody may create a directory there, root included.
  ["one that nobody may write", "/sys/turnwright", "cannot be used by the user of this process"],
  ["too long a name", join(dir, "x".repeat(300)), "has too long a name"],
  ["a circle of links", join(circle, "data"), "is a circle of symbolic links"],
])("a data directory that is %s is refused in one sentence with its variable", async (_name, dataDir, words) => {
  const refusal = await startEmbeddedPostgres({ dataDir, logger }).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(ConfigError);
  const { faults } = refusal as ConfigError;
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatch(/^TURNWRIGHT_DATA_DIR: \/.*; change that, or set another directory$/);
  expect(faults[0]).toContain(words);
});

test("a full disk is told in one sentence, by the file system and by PostgreSQL; other errors stay as they are", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
    code: "ENOSPC",
    syscall: "write",
    path: "/d/x",
  });
  expect(dataDirectoryFault(full, "/d")).toMatchObject({ faults: [expect.stringContaining("/d/x is on a full disk")] });
  const initdb = new Error('could not write file "/d/postgres/new": No space left on device');
  expect(dataDirectoryFault(initdb, "/d")).toMatchObject({ faults: [expect.stringContaining("/d is on a full disk")] });
  const missing = Object.assign(new Error("spawn initdb ENOENT"), { code: "ENOENT", syscall: "spawn initdb" });
  for (const other of [missing, new Error("other"), "text"]) expect(dataDirectoryFault(other, "/d")).toBe(other);
});
