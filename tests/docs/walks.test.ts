import { randomUUID } from "node:crypto";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, posix, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { restApi } from "../e2e/api.ts";
import { type System, startSystem } from "../e2e/system.ts";
import { testedEnvironment } from "../tested-environment.ts";

const root = join(import.meta.dirname, "../..");
const sources = globSync("{packages,services,gateway,launcher}/**/src/**/*.ts", {
  cwd: root,
  exclude: (name) => name === "node_modules",
}).filter((file) => !file.endsWith(".test.ts"));

/**
 * The files that a table of docs/architecture.md names, in its order. A name without its folder is that of the file
 * nearest to the one before it: in the same folder, else in the same package.
 */
function filesOfWalk(heading: string): string[] {
  const text = readFileSync(join(root, "docs/architecture.md"), "utf8");
  const section = text.split(`### ${heading}\n`)[1]?.split(/^##/m)[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| Step"));
  const names = rows.flatMap((row) => [...(row.split("|")[2] ?? "").matchAll(/`([\w/.-]+\.ts)`/g)].map(([, name]) => name ?? ""));
  const found: string[] = [];
  for (const name of names) {
    const before = found.at(-1) ?? "";
    const named = sources.filter((file) => file === name || file.endsWith(`/${name}`));
    const near = [
      (file: string) => file === name,
      (file: string) => file === posix.join(posix.dirname(before), name),
      (file: string) => file.split("/src/")[0] === before.split("/src/")[0],
      () => true,
    ].map((isNear) => named.filter(isNear));
    const nearest = near.find((files) => files.length > 0) ?? [];
    if (nearest.length !== 1)
      throw new Error(`docs/architecture.md, ${heading}: ${name} after ${before} is ${nearest.length} files`);
    found.push(...nearest);
  }
  return found;
}

const dataDir = mkdtempSync(join(tmpdir(), "turnwright-walks-"));
let system: System;

/** The source files of which a function ran since the last call. */
async function ranSince(): Promise<Set<string>> {
  const port = readFileSync(join(dataDir, "trace-port"), "utf8");
  const files = (await (await fetch(`http://127.0.0.1:${port}`)).json()) as string[];
  return new Set(files.map((file) => relative(root, file).replaceAll("\\", "/")).filter((file) => sources.includes(file)));
}

/** Sends a message to a conversation that is there, by a client that is known, and gives the files that ran for it. */
async function traced(message: string): Promise<Set<string>> {
  const api = restApi(system.baseUrl);
  const email = `walk-${randomUUID()}@example.com`;
  await api.register(email, "correct-horse-battery");
  const { accessToken } = await api.login(email, "correct-horse-battery");
  const { conversationId } = await api.createConversation(accessToken, "Tell me a story");
  await api.sendMessage(accessToken, conversationId, message);
  await ranSince();
  await api.sendMessage(accessToken, conversationId, message);
  return ranSince();
}

beforeAll(async () => {
  const trace = pathToFileURL(join(import.meta.dirname, "trace-files.mjs")).href;
  const environment = testedEnvironment();
  system = await startSystem({
    shape: "all-in-one",
    env: {
      TURNWRIGHT_DATA_DIR: dataDir,
      TRACED_PORT_FILE: join(dataDir, "trace-port"),
      NODE_OPTIONS: `${environment.NODE_OPTIONS ?? ""} --import=${trace}`,
    },
  });
}, 60_000);

afterAll(async () => {
  await system?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

test("walks: a message passes every file that docs/architecture.md names for it", async () => {
  const walk = filesOfWalk("A message: `POST /v1/conversations/{id}/messages`");
  const ran = await traced("Tell me another story");
  process.stdout.write(`a message: ${new Set(walk).size} files named, functions of ${ran.size} ran\n`);
  expect(walk.length).toBeGreaterThan(20);
  expect(walk.filter((file) => !ran.has(file))).toEqual([]);
});

test("walks: a call's arguments pass every file that docs/architecture.md names for them", async () => {
  const walk = filesOfWalk("The arguments of a tool call");
  const ran = await traced("What is 1337 * 42?");
  const isOfCustomTools = (file: string) => file.includes("/sandbox/");
  process.stdout.write(`a call's arguments: ${new Set(walk).size} files named, functions of ${ran.size} ran\n`);
  expect(walk.length).toBeGreaterThan(10);
  expect(walk.filter((file) => !isOfCustomTools(file) && !ran.has(file))).toEqual([]);
});
