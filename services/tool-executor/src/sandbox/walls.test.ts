import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createLogger } from "@turnwright/platform/logger";
import { reportUntested } from "@turnwright/testing/untested";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AttackGround, openAttackGround } from "../../testing/attack-targets.ts";
import { loadCustomTools } from "../registry/custom-tools.ts";
import { createToolOutbound } from "../tools/tool-outbound.ts";
import { behindWall, findLauncher, landlockVersion, nodeProgram, noWall, opensslConfig, type Wall } from "./wall.ts";

// By the kernel's own report. On a kernel with Landlock, a wall that does not hold fails the test instead of skipping
// it.
const launcher = process.platform === "linux" ? findLauncher() : undefined;
const hasKernel = launcher !== undefined && Number(landlockVersion(launcher)) > 0;
const whole: Wall = launcher === undefined ? noWall : { kind: "kernel", landlock: true, launcher };
const filterOnly: Wall = launcher === undefined ? noWall : { kind: "kernel", landlock: false, launcher };
if (!hasKernel) process.stderr.write("\nNOT TESTED: the kernel's wall around tools. This system has no Landlock, or no Perl.\n");

const outbound = createToolOutbound({ allowedHosts: [] });
const limits = { memoryBytes: 536_870_912, messageBytes: 4_194_304, chatterBytes: 1_048_576 };
const logger = createLogger({ service: "test", level: "silent" });
const groups = ["read", "metadata", "write", "connect", "others", "inside"] as const;
type Group = (typeof groups)[number];

let ground: AttackGround;
beforeEach(async () => {
  ground = await openAttackGround();
});
afterEach(() => ground.close());
afterAll(() => outbound.close());

/** Runs the hostile tool as the executor runs tools. */
async function asTool(wall: Wall): Promise<Record<string, string>> {
  const custom = await loadCustomTools(ground.targets.folder, { limits, wall, outbound });
  try {
    const [loaded] = custom.loaded;
    if (loaded === undefined || "fault" in loaded) throw new Error(loaded?.fault ?? "there is no tool");
    const context = { signal: new AbortController().signal, logger, callKey: "k" };
    return (await loaded.tool.tool.execute({ targets: ground.targets, groups }, context)) as Record<string, string>;
  } finally {
    custom.close();
  }
}

/** Runs a hostile program in the place of Node, without Node's permissions. */
async function run(wall: Wall, executable: readonly string[], command: readonly string[]): Promise<string> {
  const line = behindWall(wall, [ground.targets.folder], command);
  if (wall.kind === "kernel") line.splice(line.indexOf("--"), 0, ...executable.flatMap((path) => ["-x", path]));
  const [program = "", ...args] = line;
  const child = spawn(program, args, { env: { TZ: "UTC" }, cwd: "/", timeout: 60_000 });
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  if (child.exitCode !== 0) throw new Error(`${child.signalCode ?? child.exitCode}: ${errors.slice(0, 2_000)}`);
  return out;
}

async function alone(wall: Wall, asked: readonly Group[]): Promise<Record<string, string>> {
  const file = join(ground.targets.folder, "lib/alone.mjs");
  const targets = { ...ground.targets, isAlone: true };
  const node = [nodeProgram, `--openssl-config=${opensslConfig}`, file, JSON.stringify({ targets, groups: asked })];
  // V8 and Node may print lines before it.
  return JSON.parse((await run(wall, [], node)).trim().split("\n").at(-1) ?? "") as Record<string, string>;
}

const got = (results: Readonly<Record<string, string>>) =>
  Object.entries(results).flatMap(([name, result]) => (result.startsWith("GOT") ? [`${name}: ${result}`] : []));

function tell(where: string, results: Readonly<Record<string, string>>): void {
  process.stdout.write(`${where}: ${Object.keys(results).length} tries, ${got(results).length} through\n`);
}

describe("a hostile tool", () => {
  test("gets nothing past Node's permissions alone", async () => {
    const results = await asTool(noWall);
    tell("JavaScript, Node's permissions alone", results);
    expect(got(results)).toEqual([]);
    expect(ground.damage()).toEqual([]);
    expect(Object.keys(results).length).toBeGreaterThan(90);
    expect(JSON.stringify(results)).not.toContain(ground.canary);
  });

  test.runIf(hasKernel)("gets nothing past both walls", async () => {
    const results = await asTool(whole);
    tell("JavaScript, both walls", results);
    expect(got(results)).toEqual([]);
    expect(ground.damage()).toEqual([]);
  });

  test.runIf(hasKernel)("gets nothing past the kernel's wall alone", async () => {
    // Without metadata, which the kernel tells everybody, and without attempts that stay inside the process.
    const results = await alone(whole, ["read", "write", "connect", "others"]);
    tell("JavaScript, the kernel's wall alone", results);
    expect(got(results)).toEqual([]);
    expect(ground.damage()).toEqual([]);
    expect(JSON.stringify(results)).not.toContain(ground.canary);
  });

  test.runIf(launcher !== undefined)("writes and reaches nothing past the filter of system calls alone", async () => {
    const results = await alone(filterOnly, ["write", "connect", "others"]);
    tell("JavaScript, the filter alone", results);
    expect(got(results)).toEqual([]);
    expect(ground.damage()).toEqual([]);
  });

  test("gets nearly everything without a wall, so the attempts are real", async () => {
    const results = await alone(noWall, groups);
    tell("JavaScript, no wall", results);
    expect(got(results).length).toBeGreaterThan(70);
    expect(ground.damage().length).toBeGreaterThan(10);
  });
});

const compiler = ["/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"].find((path) => {
  try {
    execFileSync(path, ["-E", "-x", "c", "-", "-o", "/dev/null"], {
      input: "#include <sys/inotify.h>\n",
      stdio: ["pipe", "ignore", "ignore"],
    });
    return true;
  } catch {
    return false;
  }
});
if (compiler === undefined) reportUntested("native code behind the kernel's wall around tools", "C compiler");

describe.runIf(compiler !== undefined && process.platform === "linux")("hostile native code in Node's place", () => {
  const source = join(import.meta.dirname, "../../testing/attack/lib/attacker.c");

  async function native(wall: Wall): Promise<Record<string, string>> {
    const binary = join(ground.targets.folder, "attacker");
    execFileSync(compiler as string, ["-O1", "-w", "-o", binary, source]);
    ground.damage();
    const { parent, victim, secret, writable, port, udpPort, socket, abstract } = ground.targets;
    const out = await run(
      wall,
      [binary],
      [binary, ...[parent, victim, secret, writable, port, udpPort, socket, abstract].map(String)],
    );
    return Object.fromEntries(
      out
        .trim()
        .split("\n")
        .map((line) => line.split("\t") as [string, string]),
    );
  }

  test.runIf(hasKernel)("gets nothing past the kernel's wall", async () => {
    const results = await native(whole);
    tell("C, the kernel's wall", results);
    expect(got(results)).toEqual([]);
    expect(ground.damage()).toEqual([]);
    expect(Object.keys(results).length).toBeGreaterThan(75);
  });

  test.runIf(launcher !== undefined)(
    "reads and starts other programs, and no more, past the filter of system calls alone",
    async () => {
      const results = await native(filterOnly);
      tell("C, the filter alone", results);
      const open = got(results).filter((line) => !line.startsWith("read: ") && !line.startsWith("others: another program"));
      expect(open).toEqual([]);
      expect(ground.damage()).toEqual([]);
    },
  );

  test("gets nearly everything without a wall, so the attempts are real", async () => {
    const results = await native(noWall);
    tell("C, no wall", results);
    expect(got(results).length).toBeGreaterThan(50);
    expect(ground.damage().length).toBeGreaterThan(5);
  });
});
