/** Runs a service's `main.ts` (argv[2]) as a child of a mesh, and tells its starter what memory it holds. */
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a process holds, in bytes. */
export interface ProcessMemory {
  /** Objects, buffers and strings that are in use. */
  readonly held: number;
  /** What the system counts, garbage and unused pages included. */
  readonly resident: number;
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

process.on("message", async () => {
  let least: ProcessMemory = { held: Number.POSITIVE_INFINITY, resident: Number.POSITIVE_INFINITY };
  // Buffers are given back some time after their owners.
  for (let round = 0; round < 4; round += 1) {
    collectGarbage();
    await delay(100);
    const { heapUsed, external, rss } = process.memoryUsage();
    least = { held: Math.min(least.held, heapUsed + external), resident: Math.min(least.resident, rss) };
  }
  process.send?.(least);
});
await import("../../launcher/src/mesh-process.ts");
