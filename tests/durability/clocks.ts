import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type MeshProcesses, type PartKind, startMeshProcesses } from "../mesh/processes.ts";
import { testedEnvironment } from "../tested-environment.ts";
import { startLoad } from "./drain-load.ts";
import type { Stores } from "./on-stores.ts";

/** The parts of a mesh, each of which has a clock. */
export const partKinds = ["auth", "conversation", "tool-executor", "agent-orchestrator", "gateway"] as const;

/** Starts a mesh with one process of each kind; the clock of one kind is ahead by `shiftMs`. */
export function startShiftedMesh(
  stores: Stores & { modelUrl: string },
  shifted: { kind: PartKind; shiftMs: number },
): Promise<MeshProcesses> {
  const preload = pathToFileURL(join(import.meta.dirname, "shifted-clock.mjs")).href;
  return startMeshProcesses({
    ...stores,
    replicas: {},
    envOf: {
      [shifted.kind]: {
        NODE_OPTIONS: `${testedEnvironment().NODE_OPTIONS} --import=${preload}`,
        CLOCK_SHIFT_MS: String(shifted.shiftMs),
      },
    },
  });
}

/** The outcome of a load on a mesh. */
export interface ClockReport {
  readonly calls: number;
  readonly streams: number;
  /** Failed calls and broken streams. */
  readonly failures: readonly string[];
  /** The first body of /ready that is not plainly ready; undefined: none. */
  readonly notReady: string | undefined;
}

/** Loads a mesh for this time and asks /ready each second. */
export async function loadFor(mesh: MeshProcesses, seconds: number): Promise<ClockReport> {
  const load = await startLoad(mesh.gateways, { unary: 2, streams: 1, longStreams: 0, longWords: 0 });
  let notReady: string | undefined;
  for (const until = performance.now() + seconds * 1_000; performance.now() < until; await delay(1_000)) {
    const response = await fetch(`${mesh.gateways[0]}/ready`);
    const body = await response.text();
    if (response.status !== 200) notReady ??= body;
  }
  await load.stop();
  const { unary, ended, failures, broken } = load.counts;
  return { calls: unary, streams: ended, failures: [...failures, ...broken], notReady };
}
