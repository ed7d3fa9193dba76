import { spawnSync } from "node:child_process";
import { existsSync, linkSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../logger.ts";
import type { Place } from "./place.ts";

/**
 * Directories held by this process. Its own id in an owner file may come from an earlier container, so the file alone
 * does not tell.
 */
const held = new Set<string>();

/**
 * Marks the place as used by this process until the returned function is called. Throws when another live process holds
 * it; takes over the mark of a process that died.
 */
export function claim(place: Place): () => void {
  const mark = join(place.root, "owner.json");
  const mine = `${mark}.${process.pid}`;
  if (held.has(place.root)) throw inUse(place, process.pid);
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid) ?? "unknown" }), { mode: 0o600 });
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        // Creates the mark atomically, so that no process reads half of one.
        linkSync(mine, mark);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt > 3) throw error;
      }
      const owner = readOwner(mark);
      if (owner !== undefined && owner.pid !== process.pid && startOf(owner.pid) === owner.started) throw inUse(place, owner.pid);
      rmSync(mark, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
  held.add(place.root);
  return () => {
    held.delete(place.root);
    if (readOwner(mark)?.pid === process.pid) rmSync(mark, { force: true });
  };
}

function inUse(place: Place, pid: number): Error {
  return new Error(
    `${place.root} is in use by process ${pid}; stop that process, or set TURNWRIGHT_DATA_DIR to another directory`,
  );
}

function readOwner(mark: string): { pid: number; started: string } | undefined {
  try {
    return JSON.parse(readFileSync(mark, "utf8")) as { pid: number; started: string };
  } catch {
    return undefined;
  }
}

/** Start time of a process, in a form that no later process with the same id shares; undefined when it does not run. */
function startOf(pid: number): string | undefined {
  if (!existsSync("/proc/self/stat")) {
    const ps = spawnSync("ps", ["-o", "lstart=,state=", "-p", String(pid)], { encoding: "utf8" });
    const line = ps.stdout?.trim() ?? "";
    return line === "" || /\sZ\S*$/.test(line) ? undefined : line.replace(/\s+\S+$/, "");
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may contain spaces. The state is the first field after it, the start time the
    // twentieth.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}:${fields[19]}`;
  } catch {
    return undefined;
  }
}

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
