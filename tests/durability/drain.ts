import { seeded } from "../security/long/stage.ts";
import { type LoadCounts, type LoadShape, startLoad } from "./drain-load.ts";
import type { ReplicatedMesh } from "./replicated-mesh.ts";

/** The results of a series of SIGTERMs under load. */
export interface DrainReport {
  readonly counts: LoadCounts;
  /** Processes that exited with another code than 0. */
  readonly badEnds: string[];
  /** Longest time from SIGTERM to exit per part, in milliseconds. */
  readonly longest: ReadonlyMap<string, number>;
}

/** The part that a process is a replica of. */
function partOf(name: string): string {
  return name.replace(/-\d$/, "");
}

/** Random replicas, each part equally often: one of each part in random order, repeated. */
function* victims({ replicas }: ReplicatedMesh, random: () => number) {
  const parts = [...new Set(replicas.map(({ name }) => partOf(name)))];
  for (;;) {
    const left = [...parts];
    while (left.length > 0) {
      const [part] = left.splice(Math.floor(random() * left.length), 1);
      const pair = replicas.filter(({ name }) => partOf(name) === part);
      yield pair[Math.floor(random() * pair.length)] as ReplicatedMesh["replicas"][number];
    }
  }
}

/**
 * Ends random processes of a mesh with two replicas each by SIGTERM, `terms` of them one after another, and restarts
 * each, under load from clients.
 */
export async function drainUnderLoad(
  mesh: ReplicatedMesh,
  options: { terms: number; load: LoadShape; seed: number },
): Promise<DrainReport> {
  const load = await startLoad(mesh.gateways, options.load);
  const badEnds: string[] = [];
  const longest = new Map<string, number>();
  let term = 0;
  for (const replica of victims(mesh, seeded(options.seed))) {
    const { ms, code } = await replica.terminate();
    if (code !== 0) badEnds.push(`${replica.name}: ${code}`);
    const part = partOf(replica.name);
    longest.set(part, Math.max(longest.get(part) ?? 0, ms));
    await replica.start();
    term += 1;
    if (term >= options.terms) break;
  }
  await load.stop();
  return { counts: load.counts, badEnds, longest };
}
