import { createLogger } from "@turnwright/platform/logger";
import { afterAll, expect, test, vi } from "vitest";
import { createExecutorFixture } from "../../testing/executor.ts";
import { attack, openWall } from "./open-wall.ts";
import { findLauncher, landlockVersion, noWall, type Wall } from "./wall.ts";

const opened = await openWall("auto");
const { wall } = opened;
const launcher = process.platform === "linux" ? findLauncher() : undefined;
const hasWhole = launcher !== undefined && Number(landlockVersion(launcher)) > 0;

test("without a wall, every attempt of the self-test succeeds", async () => {
  expect((await attack(noWall)).sort()).toEqual(["connect", "read", "signal", "write"]);
});

test.runIf(hasWhole)("no attempt succeeds behind the whole wall, and reading only behind the filter", async () => {
  expect(await attack(wall)).toEqual([]);
  expect(await attack({ ...wall, landlock: false } as Wall)).toEqual(["read"]);
});

test.runIf(hasWhole)("the log line about the whole wall has the version of Landlock", () => {
  expect([opened.level, opened.because]).toEqual(["info", undefined]);
  expect(opened.line).toMatch(/^Custom tools: Node's permissions, Landlock \(ABI \d+\), seccomp; no network but their hosts$/);
});

/** The module as it would run on a system that lacks something. */
async function onSystemWith(replaced: Partial<typeof import("./wall.ts")>) {
  vi.resetModules();
  const actual = await vi.importActual<typeof import("./wall.ts")>("./wall.ts");
  vi.doMock("./wall.ts", () => ({ ...actual, ...replaced }));
  try {
    return await import("./open-wall.ts");
  } finally {
    vi.doUnmock("./wall.ts");
  }
}

test("without Perl, auto uses Node's permissions with a warning, and require does not start", async () => {
  const { openWall } = await onSystemWith({ findLauncher: () => undefined });
  const { wall, level, line } = await openWall("auto");
  expect({ wall, level }).toEqual({ wall: noWall, level: "warn" });
  expect(line).toMatch(/Node's permissions only; .* Set TOOLS_SANDBOX=require to refuse them\.$/);
  await expect(openWall("require")).rejects.toThrow("TOOLS_SANDBOX: require: wall: perl: not installed");
});

test.runIf(hasWhole)("without Landlock, auto uses the filter with a warning, and require does not start", async () => {
  const { behindWall } = await vi.importActual<typeof import("./wall.ts")>("./wall.ts");
  const { openWall } = await onSystemWith({
    // As on a kernel built without Landlock.
    behindWall: (wall, ...rest) => {
      if (wall.kind === "none" || !wall.landlock) return behindWall(wall, ...rest);
      return ["/bin/sh", "-c", "echo 'wall: landlock: Function not implemented' >&2; exit 125"];
    },
  });
  const { wall, level, line } = await openWall("auto");
  expect({ wall, level }).toMatchObject({ wall: { kind: "kernel", landlock: false }, level: "warn" });
  expect(line).toContain("this kernel has no Landlock");
  await expect(openWall("require")).rejects.toThrow("TOOLS_SANDBOX: require: wall: landlock: Function not implemented");
});

test("a wall that holds nothing is found out by its self-test", async () => {
  const { openWall } = await onSystemWith({
    findLauncher: () => "/usr/bin/perl",
    behindWall: (_wall, _readable, command) => [...command],
  });
  expect(await openWall("auto")).toMatchObject({ wall: noWall, level: "warn" });
  await expect(openWall("require")).rejects.toThrow("a process behind the wall could read, write, signal, connect");
});

test("TOOLS_SANDBOX=off uses Node's permissions with a warning", async () => {
  const off = await openWall("off");
  expect(off).toMatchObject({ wall: noWall, level: "warn", line: expect.stringContaining("TOOLS_SANDBOX=off") });
});

test("the executor logs its sandbox at the start", async () => {
  const fixture = await createExecutorFixture();
  afterAll(() => fixture.stop());
  const lines: string[] = [];
  const logger = createLogger({
    service: "test",
    level: "info",
    destination: { write: (line: string) => lines.push(line) },
  } as never);
  await fixture.start({ logger });
  expect(lines.filter((line) => line.includes("Custom tools: "))).toHaveLength(1);
});
