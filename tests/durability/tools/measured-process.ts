/** Runs a service's `main.ts` (argv[2]) as a child of a mesh, and tells its starter what memory it holds. */
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

process.on("message", () => {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.send?.({ held: heapUsed + external, resident: rss } satisfies ProcessMemory);
});
await import("../../../launcher/src/mesh-process.ts");
