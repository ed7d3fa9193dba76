import { setTimeout as delay } from "node:timers/promises";
import { type LoadCounts, type LoadShape, startLoad } from "./drain-load.ts";
import type { ReplicatedMesh } from "./replicated-mesh.ts";

/** The results of freezing one replica of a part under load. */
export interface FrozenReport {
  readonly part: string;
  readonly counts: LoadCounts;
  /** Longest call that was begun more than two seconds after the freeze and ended before the thaw, in milliseconds. */
  readonly longestLateMs: number;
  readonly lateCalls: number;
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
  const load = await startLoad(mesh.gateways, options.load, (begunAt, endedAt) => {
    if (begunAt < frozenAt + noticedMs || endedAt > thawedAt) return;
    lateCalls += 1;
    longestLateMs = Math.max(longestLateMs, endedAt - begunAt);
  });
  try {
    await delay(3_000);
    frozenAt = performance.now();
    replica.signal("SIGSTOP");
    await delay(frozenMs);
    thawedAt = performance.now();
  } finally {
    replica.signal("SIGCONT");
  }
  await delay(3_000);
  await load.stop();
  return { part, counts: load.counts, longestLateMs, lateCalls };
}
