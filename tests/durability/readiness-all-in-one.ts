import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { descendants, startSystem } from "../e2e/system.ts";
import { type Fault, playFault, type ReadinessCell, tableLock } from "./readiness.ts";

/** The embedded PostgreSQL below a process: the child that has children of its own. */
function postgresBelow(pid: number): { postmaster: number; all: number[]; data: string } {
  for (const postmaster of descendants(pid)) {
    const command = readFileSync(`/proc/${postmaster}/cmdline`, "utf8").split("\0");
    const at = command.indexOf("-D");
    if (at > 0) return { postmaster, all: [postmaster, ...descendants(postmaster)], data: command[at + 1] ?? "" };
  }
  throw new Error("there is no embedded PostgreSQL");
}

/** Repeats a fault until it ends, because the damaged part recovers by itself. */
function repeatedly(hurt: () => void): Fault {
  let timer: NodeJS.Timeout | undefined;
  return {
    begin() {
      timer = setInterval(() => {
        try {
          hurt();
        } catch {
          // It is not back yet.
        }
      }, 100);
    },
    end: () => clearInterval(timer),
  };
}

/**
 * Injects faults into an all-in-one process and its embedded PostgreSQL, which the process restarts when it is killed.
 */
export async function playAllInOne(): Promise<ReadinessCell[]> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-ready-"));
  chmodSync(dir, 0o711);
  const system = await startSystem({ shape: "all-in-one", env: { TURNWRIGHT_DATA_DIR: dir } });
  try {
    const { all, data } = postgresBelow(system.pid);
    const databaseUrl = () => {
      const password = readFileSync(join(data, "../password"), "utf8").trim();
      const port = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[3];
      return `postgres://postgres:${password}@127.0.0.1:${port}/turnwright`;
    };
    const signal = (pids: readonly number[], name: NodeJS.Signals) => {
      for (const pid of pids) process.kill(pid, name);
    };
    const cells = [
      await playFault(system.baseUrl, {
        part: "PostgreSQL",
        name: "embedded, SIGSTOP",
        fault: { begin: () => signal(all, "SIGSTOP"), end: () => signal(all, "SIGCONT") },
      }),
      await playFault(system.baseUrl, {
        part: "agent-orchestrator",
        name: "in one process, signs of life not taken",
        fault: tableLock(databaseUrl, "conversation.workers"),
      }),
    ];
    const killed = await playFault(system.baseUrl, {
      part: "PostgreSQL",
      name: "embedded, kill -9",
      fault: repeatedly(() => signal([postgresBelow(system.pid).postmaster], "SIGKILL")),
    });
    return [...cells, killed];
  } finally {
    await system.killAll();
    rmSync(dir, { recursive: true, force: true });
  }
}
