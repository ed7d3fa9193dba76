import { seeded } from "../security/long/stage.ts";
import { type LoadCounts, type LoadShape, startLoad } from "./drain-load.ts";
import { startPacedModel } from "./paced-model.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

/** What a series of SIGTERMs under load led to. */
export interface DrainReport {
  readonly counts: LoadCounts;
  /** Processes that did not end with code 0. */
  readonly badEnds: string[];
  /** From SIGTERM to the end of a process, the longest of each part, in milliseconds. */
  readonly longest: ReadonlyMap<string, number>;
}

/** How the series is done. */
export interface DrainOptions {
  /** Where logs go. */
  dir: string;
  databaseUrl: string;
  redisUrl: string;
  /** How many SIGTERMs, one after another. */
  terms: number;
  /** SERVER_SHUTDOWN_TIMEOUT of each process. */
  limit: string;
  load: LoadShape;
  seed: number;
}

/** Ends random processes of a mesh with two replicas each by SIGTERM, and starts each again, while clients go on calling. */
export async function drainUnderLoad(options: DrainOptions): Promise<DrainReport> {
  const model = await startPacedModel();
  const env = {
    DATABASE_URL: options.databaseUrl,
    REDIS_URL: options.redisUrl,
    LLM_BASE_URL: model.url,
    SERVER_SHUTDOWN_TIMEOUT: options.limit,
    DB_MAX_OPEN_CONNS: "8",
  };
  const mesh = await startReplicatedMesh({ dir: options.dir, env });
  try {
    const load = await startLoad(mesh.gateways, options.load);
    const random = seeded(options.seed);
    const badEnds: string[] = [];
    const longest = new Map<string, number>();
    for (let term = 0; term < options.terms; term += 1) {
      const replica = mesh.replicas[Math.floor(random() * mesh.replicas.length)];
      if (replica === undefined) throw new Error("The mesh has no processes.");
      const { ms, code } = await replica.terminate();
      if (code !== 0) badEnds.push(`${replica.name}: ${code}`);
      const part = replica.name.replace(/-\d$/, "");
      longest.set(part, Math.max(longest.get(part) ?? 0, ms));
      await replica.start();
    }
    await load.stop();
    return { counts: load.counts, badEnds, longest };
  } finally {
    await mesh.stop();
    await model.close();
  }
}
