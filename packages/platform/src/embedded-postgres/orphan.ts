import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../logger.ts";
import type { Place } from "./place.ts";
import { startOf } from "./process-start.ts";

/** Ends a server whose owner died without ending it, and removes its pid file. */
export async function endOrphan(place: Place, logger: Logger): Promise<void> {
  const pidFile = join(place.data, "postmaster.pid");
  if (!existsSync(pidFile)) return;
  const pid = Number.parseInt(readFileSync(pidFile, "utf8"), 10);
  if (pid > 0 && servesFrom(pid, place.data)) {
    logger.warn({ pid }, "ending an orphaned embedded PostgreSQL of an earlier process");
    await endServer(pid);
  }
  rmSync(pidFile, { force: true });
}

function servesFrom(pid: number, data: string): boolean {
  if (startOf(pid) === undefined) return false;
  try {
    // The working directory of a server is its cluster.
    return readlinkSync(`/proc/${pid}/cwd`) === data;
  } catch {
    const ps = spawnSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
    return (ps.stdout ?? "").includes(`-D ${data}`);
  }
}

/** Fast shutdown, then immediate shutdown, then SIGKILL. */
async function endServer(pid: number): Promise<void> {
  for (const [signal, patienceMs] of [
    ["SIGINT", 10_000],
    ["SIGQUIT", 5_000],
    ["SIGKILL", 5_000],
  ] as const) {
    signalServer(pid, signal);
    const until = Date.now() + patienceMs;
    while (Date.now() < until) {
      if (startOf(pid) === undefined) return;
      await delay(20);
    }
  }
  throw new Error(`the orphaned PostgreSQL server ${pid} of an earlier process cannot be ended`);
}

function signalServer(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
