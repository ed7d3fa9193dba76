import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";

/** What the kernel adds to Node's permissions around a tool's process. */
export type Wall =
  | { readonly kind: "none" }
  /** `landlock`: files as well; without it only what the filter of system calls knows. */
  | { readonly kind: "kernel"; readonly landlock: boolean; readonly launcher: string };

/** The wall that is none, where there is no other and where tests look at Node's permissions alone. */
export const noWall: Wall = { kind: "none" };

/** An OpenSSL configuration with nothing in it; Node ends when it cannot read the one that it was built with. */
export const opensslConfig = join(import.meta.dirname, "openssl.cnf");

const launcherFile = join(import.meta.dirname, "wall.pl");
const launchers = ["/usr/bin/perl", "/bin/perl", "/usr/local/bin/perl"];

/** Where Perl is, which puts the wall on; undefined where there is none. */
export function findLauncher(): string | undefined {
  return launchers.find((path) => existsSync(path));
}

/** The program of this very process, which runs tools too. */
export const nodeProgram = realpathSync(process.execPath);

let found: readonly string[] | undefined;

/** The libraries of this process: a second one of the same program needs the same. */
function libraries(): readonly string[] {
  found ??= [
    ...new Set(
      readFileSync("/proc/self/maps", "utf8")
        .split("\n")
        // Address, rights, offset, device, inode, path; a path may hold spaces.
        .flatMap((line) => /^(?:\S+\s+){5}(\/.*\.so\b.*)$/.exec(line)?.[1] ?? [])
        .filter((path) => existsSync(path)),
    ),
  ];
  return found;
}

/** The version of Landlock that the kernel has, for people to read. */
export function landlockVersion(launcher: string): string {
  return execFileSync(launcher, [launcherFile, process.arch, "abi"], { encoding: "utf8", env: {} }).trim();
}

/** A command behind the wall. It ends with this process, and `exec` keeps its pid and its pipes. */
export function behindWall(wall: Wall, readable: readonly string[], command: readonly string[]): string[] {
  if (wall.kind === "none") return [...command];
  return [
    wall.launcher,
    launcherFile,
    process.arch,
    String(process.pid),
    wall.landlock ? "landlock" : "without",
    // What a process says of its own memory; the pid stays the same.
    ...["-r", "/proc/self/stat", "-r", opensslConfig, "-x", nodeProgram],
    ...libraries().flatMap((path) => ["-x", path]),
    ...readable.flatMap((path) => ["-r", path]),
    "--",
    ...command,
  ];
}
