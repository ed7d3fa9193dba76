/** SIGTERM to random processes of a mesh with two replicas each, under load: `npm run durability -- r10`. */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { drainUnderLoad } from "./drain.ts";
import { onStores } from "./on-stores.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({
  options: { terms: { type: "string", default: "100" }, seed: { type: "string", default: "10" } },
});
const terms = Number(values.terms);
const limitSeconds = 4;

/** Counted entries, most frequent first. */
function summary(entries: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const entry of entries) counts.set(entry, (counts.get(entry) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a).slice(0, 12);
  return sorted.map(([entry, count]) => `\n      ${count} × ${entry}`).join("");
}

await onStores("drain", async (stores) => {
  const limit = `${limitSeconds}s`;
  const mesh = await startReplicatedMesh({ ...stores, limit });
  // A long stream takes 10 s, longer than the limit.
  const load = { unary: 8, streams: 6, longStreams: 4, longWords: 200 };
  const measured = drainUnderLoad(mesh, { terms, load, seed: Number(values.seed) });
  const { counts, badEnds, longest } = await measured.finally(() => mesh.stop());
  const { unary, failures, ended, handedOver, outlived, cut, resumed, refused } = counts;
  const broken = [...refused, ...resumed, ...counts.broken];
  console.log(`    longest drains: ${[...longest].map(([part, ms]) => `${part} ${(ms / 1_000).toFixed(1)} s`).join(", ")}`);
  const slowest = Math.max(...longest.values());
  report("R10", failures.length === 0, `${terms} SIGTERMs, ${unary} unary calls: ${failures.length} failed${summary(failures)}`);
  const streams = `${ended} streams ended, ${handedOver} handed over (answered ${(counts.longestHandover / 1_000).toFixed(1)} s later at most), ${outlived} outlived by their run, ${cut} completions cut at the limit with an error`;
  report("R10", broken.length === 0, `${streams}, ${broken.length} broken${summary(broken)}`);
  const end = `longest drain ${(slowest / 1_000).toFixed(1)} s at a limit of ${limitSeconds} s, ${badEnds.length} unclean exits`;
  report("R10", slowest <= 30_000 && badEnds.length === 0, `${end}${summary(badEnds)}`);
});
