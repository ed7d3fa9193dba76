import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readlinkSync } from "node:fs";

/** Start time of a process, in a form that no later process with the same id shares; undefined when it does not run. */
export function startOf(pid: number): string | undefined {
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
    return `${bootId()}:${fields[19]}`;
  } catch {
    return undefined;
  }
}

/** Differs between machines and between boots of one; containers share their machine's. Empty where there is none. */
export function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

/** The namespace in which process ids of this process count; empty where the system has none. */
export function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
