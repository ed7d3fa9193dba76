import { readFileSync } from "node:fs";

/** What a process has taken. */
export interface ProcessUsage {
  readonly residentBytes: number;
  /** Processor time of all its threads. */
  readonly cpuMs: number;
}

const pageBytes = 4_096;
/** The kernel's unit of processor time in /proc. */
const tickMs = 10;

/** Reads a process's use from /proc; undefined when it has ended, and where the system does not tell. */
export function readUsage(pid: number): ProcessUsage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may hold anything; what follows the last of them is the state, field 3, and so on.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs, residentBytes: Number(fields[21]) * pageBytes };
  } catch {
    return undefined;
  }
}
