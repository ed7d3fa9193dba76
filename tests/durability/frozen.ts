import { setTimeout as delay } from "node:timers/promises";
import { type LoadCounts, type LoadShape, startLoad } from "./drain-load.ts";
import type { ReplicatedMesh } from "./replicated-mesh.ts";
import { establishedConnections } from "./tcp-table.ts";

/** The results of freezing one replica of a part under load. */
export interface FrozenReport {
  readonly part: string;
  readonly counts: LoadCounts;
  /** Calls that were begun more than two seconds after the freeze and ended before the thaw. */
  readonly lateCalls: number;
  /** The longest of them, in milliseconds. */
  readonly longestLateMs: number;
  /** Bytes that reached the frozen process between two seconds and eighteen seconds after the freeze. */
  readonly lateBytes: number;
}

/** After this time, in milliseconds, clients close the connections of a frozen process. */
const countedMs = 18_000;
const sampleMs = 250;

/**
 * Counts the bytes that reach a stopped process at this port until `until`, a time of `performance.now()`: what waits
 * in its connections beyond what waits now, also in those that clients close meanwhile.
 */
async function bytesReaching(port: number, until: number): Promise<number> {
  const first = new Map<number, number>();
  const most = new Map<number, number>();
  for (let isFirst = true; performance.now() < until; isFirst = false) {
    for (const { localPort, remotePort, received } of establishedConnections()) {
      if (localPort !== port) continue;
      if (isFirst) first.set(remotePort, received);
      most.set(remotePort, Math.max(most.get(remotePort) ?? 0, received));
    }
    await delay(sampleMs);
  }
  return [...most].reduce((sum, [remotePort, received]) => sum + received - (first.get(remotePort) ?? 0), 0);
}

/** An instance that is frozen gets no call after this time, in milliseconds. */
export const noticedMs = 2_000;

/**
 * Stops one replica of a part (SIGSTOP) for a while under load, lets it run again, and lets the load go on a little.
 */
export async function freezeUnderLoad(
  mesh: ReplicatedMesh,
  options: { part: string; load: LoadShape; frozenMs: number },
): Promise<FrozenReport> {
  const { part, frozenMs } = options;
  const replica = mesh.replicas.find(({ name }) => name === `${part}-1`);
  if (replica === undefined) throw new Error(`There is no replica of ${part}.`);
  let frozenAt = Number.POSITIVE_INFINITY;
  let thawedAt = Number.POSITIVE_INFINITY;
  let longestLateMs = 0;
  let lateCalls = 0;
  let lateBytes = Number.POSITIVE_INFINITY;
  const load = await startLoad(mesh.gateways, options.load, (begunAt, endedAt) => {
    if (begunAt < frozenAt + noticedMs || endedAt > thawedAt) return;
    lateCalls += 1;
    longestLateMs = Math.max(longestLateMs, endedAt - begunAt);
  });
  try {
    await delay(3_000);
    frozenAt = performance.now();
    replica.signal("SIGSTOP");
    await delay(noticedMs);
    lateBytes = await bytesReaching(replica.port, frozenAt + Math.min(frozenMs, countedMs));
    await delay(Math.max(0, frozenMs - countedMs));
    thawedAt = performance.now();
  } finally {
    replica.signal("SIGCONT");
  }
  await delay(3_000);
  await load.stop();
  return { part, counts: load.counts, longestLateMs, lateCalls, lateBytes };
}
