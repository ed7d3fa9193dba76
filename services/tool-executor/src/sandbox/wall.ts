import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";

/** The kernel's protection around a tool's process, on top of Node's permissions. */
export type Wall =
  | { readonly kind: "none" }
  /** With `landlock` it also guards reading files; without, there is the filter of system calls alone. */
  | { readonly kind: "kernel"; readonly landlock: boolean; readonly launcher: string };

/** No wall: for systems that have none, and for tests of Node's permissions alone. */
export const noWall: Wall = { kind: "none" };

/** An empty OpenSSL configuration. Node exits when it cannot read its built-in default. */
export const opensslConfig = join(import.meta.dirname, "openssl.cnf");

const launcherFile = join(import.meta.dirname, "wall.pl");
const launchers = ["/usr/bin/perl", "/bin/perl", "/usr/local/bin/perl"];

/** The path of Perl, which sets up the wall; undefined on systems without it. */
export function findLauncher(): string | undefined {
  return launchers.find((path) => existsSync(path));
}

/** The executable of this process, which also runs tools. */
export const nodeProgram = realpathSync(process.execPath);

let found: readonly string[] | undefined;

/** The shared libraries of this process. Another process of the same executable needs the same. */
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

/** The kernel's version of Landlock, for the log. */
export function landlockVersion(launcher: string): string {
  return execFileSync(launcher, [launcherFile, process.arch, "abi"], { encoding: "utf8", env: {} }).trim();
}

/**
 * The command line that runs a command behind the wall. The process ends with this one, and keeps its pid and pipes.
 */
export function behindWall(wall: Wall, readable: readonly string[], command: readonly string[]): string[] {
  if (wall.kind === "none") return [...command];
  return [
    wall.launcher,
    launcherFile,
    process.arch,
    String(process.pid),
    wall.landlock ? "landlock" : "without",
    // Node reads its own memory usage here. `exec` keeps the pid, so "self" is still Node.
    ...["-r", "/proc/self/stat", "-r", opensslConfig, "-x", nodeProgram],
    ...libraries().flatMap((path) => ["-x", path]),
    ...readable.flatMap((path) => ["-r", path]),
    "--",
    ...command,
  ];
}
