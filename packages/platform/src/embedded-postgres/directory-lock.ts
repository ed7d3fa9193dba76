import { spawnSync } from "node:child_process";

/** Exit status by which both programs below report that another open file holds the lock. */
const conflict = 75;
const environment = { PATH: `${process.env.PATH ?? ""}:/usr/local/bin:/usr/bin:/bin`, LC_ALL: "C" };

/** Programs that lock the file inherited as descriptor 3: flock of util-linux, or Perl where that is missing. */
export const lockPrograms: readonly (readonly [string, ...string[]])[] = [
  ["flock", "-x", "-n", "-E", String(conflict), "3"],
  ["perl", "-e", `open(F, "+<&=", 3) or exit 71; exit(flock(F, 6) ? 0 : $! == 11 || $! == 35 ? ${conflict} : 71)`],
];

/**
 * Tries to take the exclusive `flock` of an open file. Node.js has no call for it; the lock belongs to the open file,
 * not to the program that takes it, so it lasts until this process and all that inherit the descriptor have closed it
 * or ended, by SIGKILL too. The kernel keeps it across pid namespaces and containers; NFS across machines. Returns
 * `held` when another open file has it, `unavailable` when no program is here or the file system has no locks.
 */
export function tryLock(descriptor: number, programs = lockPrograms): "locked" | "held" | "unavailable" {
  for (const [program, ...args] of programs) {
    const { status } = spawnSync(program, args, {
      cwd: "/",
      env: environment,
      stdio: ["ignore", "ignore", "ignore", descriptor],
      timeout: 10_000,
    });
    if (status === 0) return "locked";
    if (status === conflict) return "held";
  }
  return "unavailable";
}
