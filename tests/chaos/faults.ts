import { setTimeout as delay } from "node:timers/promises";
import type { ChaosMesh } from "./mesh.ts";
import type { Random } from "./random.ts";

/** What a row does to the mesh. */
export interface FaultPlan {
  /** kill -9 of a random process, and its start again. */
  readonly kills: boolean;
  /** Processes that are held still until others take them for dead, and then go on. */
  readonly freezes: boolean;
  /** Share of PostgreSQL's statements that are lost. */
  readonly lossRate: number;
  /** Immediate restarts of PostgreSQL. */
  readonly postgresRestarts: number;
  /** Everything in Redis is taken away now and then. */
  readonly flushes: boolean;
  /** Milliseconds between faults: from, to. */
  readonly pauseMs: readonly [number, number];
}

/** What was done. */
export interface FaultReport {
  readonly counts: Map<string, number>;
  /** When the last one was over, in milliseconds of the clock. */
  lastAt: number;
  /** How long the system took to answer after each restart of PostgreSQL, in milliseconds. */
  readonly recoveriesMs: number[];
}

/** How long until a conversation can be listed again: the database is asked for that. */
async function untilServing(mesh: ChaosMesh, token: string): Promise<number> {
  const began = Date.now();
  for (;;) {
    const served = await Promise.all(
      mesh.gateways.map((gateway) =>
        fetch(`${gateway}/v1/conversations?limit=1`, {
          headers: { authorization: `Bearer ${token}` },
          signal: AbortSignal.timeout(5_000),
        }).then(
          (response) => response.ok,
          () => false,
        ),
      ),
    );
    if (served.every((ok) => ok)) return Date.now() - began;
    await delay(50);
  }
}

/** Does faults until `isOver`, then puts everything right again. */
export async function makeFaults(
  mesh: ChaosMesh,
  plan: FaultPlan,
  options: { random: Random; token: string; isOver: () => boolean; say: (line: string) => void },
): Promise<FaultReport> {
  const { random, token, isOver, say } = options;
  const report: FaultReport = { counts: new Map(), lastAt: Date.now(), recoveriesMs: [] };
  const count = (what: string) => {
    say(what);
    report.counts.set(what, (report.counts.get(what) ?? 0) + 1);
  };
  mesh.proxy.lossRate = plan.lossRate;
  let restarts = 0;
  const kinds = [
    ...(plan.kills ? ["kill", "kill", "kill", "kill"] : []),
    ...(plan.freezes ? ["freeze"] : []),
    ...(plan.flushes ? ["flush"] : []),
    ...(plan.postgresRestarts > 0 ? ["postgres"] : []),
  ];
  while (!isOver() && kinds.length > 0) {
    await delay(random.between(plan.pauseMs[0], plan.pauseMs[1]));
    if (isOver()) break;
    const kind = random.pick(kinds);
    const part = random.pick(mesh.parts);
    if (kind === "kill") {
      count(`kill ${part.name}`);
      await part.kill();
      await delay(random.between(0, 800));
      await part.start();
    } else if (kind === "freeze") {
      const worker = random.pick(mesh.parts.filter(({ name }) => /orchestrator|executor/.test(name)));
      count(`freeze ${worker.name}`);
      await worker.freeze(random.between(4_000, 7_000));
    } else if (kind === "flush") {
      count("flush redis");
      await mesh.flushRedis();
    } else if (restarts < plan.postgresRestarts) {
      restarts += 1;
      count("restart postgres");
      await mesh.restartPostgres();
      report.recoveriesMs.push(await untilServing(mesh, token));
    } else break;
    report.lastAt = Date.now();
  }
  mesh.proxy.lossRate = 0;
  if (plan.lossRate > 0) report.lastAt = Date.now();
  return report;
}
