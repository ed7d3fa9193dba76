import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findLauncher } from "./wall.ts";

const perl = findLauncher();
const launcherFile = join(import.meta.dirname, "wall.pl");
const source = readFileSync(launcherFile, "utf8");

/** The table of refused calls, as the launcher reads it. */
const refused = [...(source.split("<<'END';\n")[1]?.split("\nEND\n")[0] ?? "").matchAll(/^(\w+) (\d+|-) (\d+|-)$/gm)].map(
  ([, name = "", x64 = "", arm64 = ""]) => ({ name, x64, arm64 }),
);

const architectures = {
  x64: { audit: 0xc000003e, foreign: 0x40000003 },
  arm64: { audit: 0xc00000b7, foreign: 0x40000028 },
} as const;
type Architecture = keyof typeof architectures;

const answers = { allow: 0x7fff0000, kill: 0x80000000, EPERM: 0x00050001, ENOTTY: 0x00050019, ENOSYS: 0x00050026 };

interface Call {
  readonly number: number;
  readonly args?: readonly number[];
  readonly audit?: number;
}

/** The kernel's answer by a filter: an interpreter of classic BPF, in which filters are written. */
function interpret(program: Buffer, { number, args = [], audit = 0 }: Call): string {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(audit, 4);
  for (const [i, value] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 16 + 8 * i);
  let accumulator = 0;
  for (let at = 0; at < program.byteLength / 8; at += 1) {
    const [code, whenTrue, whenFalse] = [program.readUInt16LE(at * 8), program[at * 8 + 2] ?? 0, program[at * 8 + 3] ?? 0];
    const operand = program.readUInt32LE(at * 8 + 4);
    const jump = (holds: boolean) => {
      at += holds ? whenTrue : whenFalse;
    };
    if (code === 0x20) accumulator = data.readUInt32LE(operand);
    else if (code === 0x15) jump(accumulator === operand);
    else if (code === 0x35) jump(accumulator >= operand);
    else if (code === 0x45) jump((accumulator & operand) !== 0);
    else if (code === 0x06) return Object.entries(answers).find(([, value]) => value === operand)?.[0] ?? `${operand}`;
    else throw new Error(`an instruction ${code}`);
  }
  throw new Error("the program has no end");
}

describe.runIf(perl !== undefined).each(Object.keys(architectures) as Architecture[])(
  "the filter of system calls for %s",
  (arch) => {
    const hex = perl === undefined ? "" : execFileSync(perl, [launcherFile, arch, "filter"], { encoding: "utf8" });
    const program = Buffer.from(hex.trim(), "hex");
    const { audit, foreign } = architectures[arch];
    const answer = (call: Call) => interpret(program, { audit, ...call });
    const column = arch === "x64" ? 0 : 1;
    const pick = (...numbers: [number, number]) => numbers[column];

    test("refuses every call of the table with any arguments", () => {
      expect(refused.length).toBeGreaterThan(120);
      for (const call of refused) {
        if (call[arch] === "-") continue;
        for (const args of [[], [-1, -1, -1, -1, -1, -1]]) {
          expect(answer({ number: Number(call[arch]), args }), call.name).toBe("EPERM");
        }
      }
    });

    test.each([
      ["read", [0, 63], [], "allow"],
      ["write", [1, 64], [], "allow"],
      ["mmap", [9, 222], [], "allow"],
      ["futex", [202, 98], [], "allow"],
      ["execve", [59, 221], [], "allow"],
      ["openat to read", [257, 56], [0, 0, 0x80000], "allow"],
      ["openat to write", [257, 56], [0, 0, 0x1], "EPERM"],
      ["openat to read and write", [257, 56], [0, 0, 0x2], "EPERM"],
      ["openat to create", [257, 56], [0, 0, 0x40], "EPERM"],
      ["openat to truncate", [257, 56], [0, 0, 0x200], "EPERM"],
      ["openat of an unnamed file", [257, 56], [0, 0, 0x410002], "EPERM"],
      ["openat2", [437, 437], [], "ENOSYS"],
      ["clone of a thread", [56, 220], [0x3d0f00], "allow"],
      ["clone of a process", [56, 220], [0x1200011], "EPERM"],
      ["clone3", [435, 435], [], "ENOSYS"],
      ["a signal to a thread of this process", [234, 131], [1, 1, 6], "allow"],
      ["a signal to a thread of another process", [234, 131], [2, 2, 6], "EPERM"],
      ["limits of this process", [302, 261], [0, 7], "allow"],
      ["limits of another process", [302, 261], [2, 7], "EPERM"],
      ["fcntl F_SETFL", [72, 25], [3, 4], "allow"],
      ["fcntl F_DUPFD_CLOEXEC", [72, 25], [3, 1030], "allow"],
      ["fcntl F_SETOWN", [72, 25], [3, 8], "EPERM"],
      ["fcntl F_SETSIG", [72, 25], [3, 10], "EPERM"],
      ["fcntl F_SETOWN_EX", [72, 25], [3, 15], "EPERM"],
      ["ioctl FIONBIO", [16, 29], [0, 0x5421], "allow"],
      ["ioctl FIOSETOWN", [16, 29], [0, 0x8901], "ENOTTY"],
      ["ioctl TIOCSTI", [16, 29], [0, 0x5412], "ENOTTY"],
      ["ioctl SIOCGIFCONF", [16, 29], [0, 0x8912], "ENOTTY"],
      ["prctl PR_SET_NAME", [157, 167], [15], "allow"],
      ["prctl PR_SET_PDEATHSIG", [157, 167], [1, 0], "EPERM"],
      ["a call newer than the table", [463, 463], [], "ENOSYS"],
      ["a call with an unused number", [999, 999], [], "ENOSYS"],
    ] as const)("%s", (_name, numbers, args, expected) => {
      expect(answer({ number: pick(...(numbers as [number, number])), args })).toBe(expected);
    });

    test("kills a process that makes calls of another architecture", () => {
      expect(answer({ number: pick(0, 63), audit: foreign })).toBe("kill");
      if (arch === "x64") expect(answer({ number: 0x40000000 + 41 })).toBe("kill");
    });
  },
);

describe.runIf(perl !== undefined)("the launcher", () => {
  test("refuses an architecture without a table, and names the step that failed", () => {
    const ended = spawnSync(perl as string, [launcherFile, "riscv64", "1", "landlock", "--", "/bin/true"], { encoding: "utf8" });
    expect(ended.status).toBe(125);
    expect(ended.stderr).toBe("wall: architecture: there is no list of system calls for 'riscv64'\n");
  });

  test("starts nothing when a step fails, and names the step", () => {
    const run = (...args: string[]) => spawnSync(perl as string, [launcherFile, process.arch, ...args], { encoding: "utf8" });
    const missing = run(String(process.pid), "landlock", "-r", "/nowhere", "--", "/bin/echo", "started");
    expect([missing.status, missing.stdout]).toEqual([125, ""]);
    expect(missing.stderr).toMatch(/^wall: (?:\/nowhere: No such file or directory|landlock: .+)\n$/);
    expect(run(String(process.pid), "without", "-q", "x", "--", "/bin/echo").stderr).toBe(
      "wall: arguments: '-q' is not an option\n",
    );
    expect(run(String(process.pid), "without", "--").stderr).toBe("wall: arguments: there is no command\n");
    expect(run(String(process.pid), "without", "--", "/nowhere/node").stderr).toContain("wall: exec /nowhere/node: No such file");
  });

  test("starts nothing when its parent has ended", () => {
    const ended = spawnSync(perl as string, [launcherFile, process.arch, "1", "without", "--", "/bin/echo", "started"]);
    expect([ended.status, ended.stdout.toString()]).toEqual([0, ""]);
  });
});

// arm64 uses the kernel's generic numbers.
const headers: readonly [Architecture, string][] = [
  ["x64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"],
  ["arm64", "/usr/include/asm-generic/unistd.h"],
];
test.each(headers.filter(([, file]) => existsSync(file)))("the table agrees with the kernel's headers for %s", (arch, file) => {
  const numbers = new Map(
    [...readFileSync(file, "utf8").matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(([, name = "", number = ""]) => [
      name,
      number,
    ]),
  );
  const alike = refused.filter(({ name }) => numbers.has(name));
  expect(alike.length).toBeGreaterThan(90);
  expect(alike.filter((call) => numbers.get(call.name) !== call[arch]).map(({ name }) => name)).toEqual([]);
});
