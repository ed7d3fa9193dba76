import { readFileSync } from "node:fs";

/** The resources that a process has used. */
interface ProcessUsage {
  readonly residentBytes: number;
  /** Processor time of all its threads. */
  readonly cpuMs: number;
}

const pageBytes = 4_096;
/** The kernel's unit of processor time in /proc. */
const tickMs = 10;

/** Reads a process's usage from /proc; undefined when it has ended, and on systems without /proc. */
function readUsage(pid: number): ProcessUsage | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may hold anything. After the last parenthesis come the state, field 3, and so on.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs, residentBytes: Number(fields[21]) * pageBytes };
  } catch {
    return undefined;
  }
}

const checkMs = 50;

/** Watches the usage of one process, and reports when it exceeds a limit. */
export interface UsageWatch {
  /** Allows so much more processor time from now on. */
  allowCpu(ms: number): void;
  /** Milliseconds of processor time that the process has used, as last read. */
  readonly cpuMs: number;
  stop(): void;
}

/**
 * Starts to read a process's usage every 50 ms. `onExcess` gets the reason, in words for the model. `pid` is undefined
 * for a process that did not start.
 */
export function startUsageWatch(
  pid: number | undefined,
  limits: { memoryBytes: number; cpuMs: number },
  onExcess: (reason: string) => void,
): UsageWatch {
  let usage: ProcessUsage = { residentBytes: 0, cpuMs: 0 };
  let maxCpuMs = limits.cpuMs;
  const read = () => {
    usage = (pid === undefined ? undefined : readUsage(pid)) ?? usage;
    return usage;
  };
  const check = () => {
    const { residentBytes, cpuMs } = read();
    if (residentBytes > limits.memoryBytes) {
      onExcess(`The tool used more than its ${Math.floor(limits.memoryBytes / 1_048_576)} MB of memory.`);
    } else if (cpuMs > maxCpuMs) {
      onExcess("The tool used more processor time than allowed.");
    }
  };
  const timer = setInterval(check, checkMs).unref();
  return {
    allowCpu(ms) {
      maxCpuMs = read().cpuMs + ms;
    },
    get cpuMs() {
      return usage.cpuMs;
    },
    stop: () => clearInterval(timer),
  };
}
