import { execFile } from "node:child_process";
import { chmodSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";

const root = join(import.meta.dirname, "../..");
const document = readFileSync(join(root, "docs/architecture.md"), "utf8");
const sources = globSync("{gateway,packages/*,services/*}/src/**/*.ts", { cwd: root })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => !file.endsWith(".test.ts"));

/** The files that a walk names, in its order. A short path means a file near the one before it. */
function walk(heading: string): string[] {
  const [, section = ""] = document.split(`### ${heading}`);
  const cells = (section.split("\n#", 1)[0] ?? "").split("\n").flatMap((line) => line.split("|")[2] ?? []);
  const files: string[] = [];
  for (const [, path = ""] of cells.join(" ").matchAll(/`([\w/.-]+\.ts)`/g)) {
    const before = files.at(-1) ?? "";
    const folders = [before.replace(/[^/]*$/, ""), before.replace(/src\/.*$/, "src/"), ""];
    const file = folders.map((folder) =>
      sources.find((one) => one === folder + path || (one.startsWith(folder) && one.endsWith(`/${path}`))),
    );
    files.push(file.find((one) => one !== undefined) ?? `${path} (no such file)`);
  }
  return files;
}

/** The files that run while each of the messages is answered; a leading `~` marks those that run in idle times too. */
async function traces(...messages: string[]): Promise<string[][]> {
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-walk-"));
  // The database's user passes it where the tests run as root.
  chmodSync(dataDir, 0o711);
  try {
    const env = { PATH: process.env.PATH, ...testedEnvironment() };
    const args = ["tests/walks/trace.ts", dataDir, ...messages];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env });
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "[]") as string[][];
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

let answered: string[] = [];
let calling: string[] = [];
beforeAll(async () => {
  [answered = [], calling = []] = await traces("Hello again", "What is 6 * 7?");
});

const without = (mark: string, files: readonly string[]) => new Set(files.map((file) => file.replace(mark, "")));
/** Pools open and close connections at any time. */
const ofConnections = /^packages\/platform\/src\/postgres\//;
/** The walk also names the place of a custom tool, which the traced message does not call. */
const ofCustomTools = /^services\/tool-executor\/src\/sandbox\//;

test("walks: docs/architecture.md names the files that run for a message, and no others", () => {
  const named = walk("A message");
  const ran = without("~", answered);
  expect(named.length).toBeGreaterThan(20);
  const idleInWalk = named.filter((file) => !ran.has(file));
  const missingInWalk = answered.filter((file) => !file.startsWith("~") && !named.includes(file) && !ofConnections.test(file));
  expect({ idleInWalk, missingInWalk }).toEqual({ idleInWalk: [], missingInWalk: [] });
});

test("walks: docs/architecture.md names files that run for a call's arguments", () => {
  const named = walk("The arguments of a tool call");
  const ran = without("~", calling);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((file) => !ran.has(file) && !ofCustomTools.test(file))).toEqual([]);
});
