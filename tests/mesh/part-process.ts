/** Runs a service's `main.ts` (argv[2]) as a child process of a mesh, and reports its memory on request. */
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Memory of a process, in bytes. */
export interface ProcessMemory {
  /** Live objects, buffers and strings. */
  readonly held: number;
  /** Resident set size, including garbage and unused pages. */
  readonly resident: number;
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

process.on("message", async (message) => {
  if (message !== "memory") return;
  let least: ProcessMemory = { held: Number.POSITIVE_INFINITY, resident: Number.POSITIVE_INFINITY };
  // Buffers are freed some time after their owners.
  for (let round = 0; round < 4; round += 1) {
    collectGarbage();
    await delay(100);
    const { heapUsed, external, rss } = process.memoryUsage();
    least = { held: Math.min(least.held, heapUsed + external), resident: Math.min(least.resident, rss) };
  }
  process.send?.(least);
});
await import("../../launcher/src/mesh-process.ts");
// The program's main module has run to its end: it serves.
process.send?.("started");
