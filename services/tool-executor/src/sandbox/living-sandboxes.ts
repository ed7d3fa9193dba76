import { readdirSync, readFileSync } from "node:fs";

/** Sandboxes that this process has started and that live, as their command lines; for tests. A machine may lack `ps`. */
export function livingSandboxes(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const parent = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[1];
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return parent === String(process.pid) && command.includes("sandbox/child.ts") ? [command] : [];
    } catch {
      // Ended while we looked.
      return [];
    }
  });
}
