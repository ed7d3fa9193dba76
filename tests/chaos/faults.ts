import { setTimeout as delay } from "node:timers/promises";
import type { Part } from "../mesh/part.ts";
import type { ChaosMesh } from "./mesh.ts";
import type { Random } from "./random.ts";

/** The faults of one row. */
export interface FaultPlan {
  /** kill -9 of a random process, and its restart: `any`, the processes with this name prefix, or none if empty. */
  readonly kills: string;
  /** Processes that are stopped until the others take them for dead, and then continue; selected like `kills`. */
  readonly freezes: string;
  /** Share of PostgreSQL statements that are lost or time out. */
  readonly lossRate: number;
  /** Number of immediate restarts of PostgreSQL; messages are sent until all are done. */
  readonly postgresRestarts: number;
  /** Whether Redis loses all its data from time to time. */
  readonly flushes: boolean;
  /** Maximum number of processes away at once; a fault beyond it is skipped. */
  readonly mostAway: number;
  /** Milliseconds between faults: minimum, maximum. */
  readonly pauseMs: readonly [number, number];
}

/** No faults. */
export const calm: FaultPlan = {
  kills: "",
  freezes: "",
  lossRate: 0,
  postgresRestarts: 0,
  flushes: false,
  mostAway: 2,
  pauseMs: [2_000, 5_000],
};

/** The faults that were injected. */
export interface FaultReport {
  readonly counts: Map<string, number>;
  /** End of the last fault, in milliseconds since the epoch. */
  lastAt: number;
  /** Milliseconds until the system answered after each restart of PostgreSQL. */
  readonly recoveriesMs: number[];
}

/** Faults in progress. */
export interface Faults {
  /** Resolves once the minimum faults of the plan are done. */
  readonly enough: Promise<void>;
  /** Ends all faults, restores every process, and returns the report. */
  end(): Promise<FaultReport>;
}

/** Milliseconds until conversations can be listed again, which needs the database. */
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

/**
 * Starts injecting faults, one after each pause. Killed or stopped processes return while the next fault is prepared.
 */
export function makeFaults(
  mesh: ChaosMesh,
  plan: FaultPlan,
  options: { random: Random; token: string; say: (line: string) => void },
): Faults {
  const { random, token, say } = options;
  const report: FaultReport = { counts: new Map(), lastAt: Date.now(), recoveriesMs: [] };
  const enough = Promise.withResolvers<void>();
  const ending = new AbortController();
  const away = new Map<Part, Promise<void>>();
  let restarts = 0;
  if (plan.postgresRestarts === 0) enough.resolve();

  const count = (what: string) => {
    say(what);
    report.counts.set(what, (report.counts.get(what) ?? 0) + 1);
  };
  /** A running process that the selector matches. */
  const victim = (meant: string): Part | undefined => {
    if (away.size >= plan.mostAway) return undefined;
    const there = mesh.parts.filter((part) => !away.has(part) && (meant === "any" || part.name.startsWith(meant)));
    return there.length === 0 ? undefined : random.pick(there);
  };
  const without = (part: Part, work: Promise<void>) => {
    const done = work.finally(() => {
      away.delete(part);
      report.lastAt = Date.now();
    });
    away.set(part, done);
  };
  const kill = async (part: Part, awayMs: number) => {
    await part.kill();
    await delay(awayMs);
    await part.revive();
  };
  const kinds: Readonly<Record<string, () => Promise<void> | void>> = {
    kill() {
      const part = victim(plan.kills);
      if (part === undefined) return;
      count(`kill ${part.name}`);
      without(part, kill(part, random.between(0, 800)));
    },
    freeze() {
      const part = victim(plan.freezes === "any" ? random.pick(["agent-orchestrator", "tool-executor"]) : plan.freezes);
      if (part === undefined) return;
      count(`freeze ${part.name}`);
      without(part, part.freeze(random.between(4_000, 7_000)));
    },
    async flush() {
      count("flush redis");
      await mesh.flushRedis();
    },
    async postgres() {
      if (restarts === plan.postgresRestarts) return;
      count("restart postgres");
      await mesh.restartPostgres();
      report.recoveriesMs.push(await untilServing(mesh, token));
      restarts += 1;
      if (restarts === plan.postgresRestarts) enough.resolve();
    },
  };
  const wheel = [
    ...(plan.kills === "" ? [] : ["kill", "kill", "kill", "kill"]),
    ...(plan.freezes === "" ? [] : ["freeze"]),
    ...(plan.flushes ? ["flush"] : []),
    ...(plan.postgresRestarts > 0 ? ["postgres"] : []),
  ];
  const turn = async (): Promise<void> => {
    while (wheel.length > 0) {
      const pauseMs = random.between(plan.pauseMs[0], plan.pauseMs[1]);
      const isOver = await delay(pauseMs, false, { signal: ending.signal }).catch(() => true);
      if (isOver) return;
      await kinds[random.pick(wheel)]?.();
      report.lastAt = Date.now();
    }
  };
  mesh.proxy.lossRate = plan.lossRate;
  const turning = turn();
  turning.catch(enough.reject);
  return {
    enough: enough.promise,
    async end() {
      ending.abort();
      await turning;
      await Promise.all(away.values());
      mesh.proxy.lossRate = 0;
      if (plan.lossRate > 0) report.lastAt = Date.now();
      return report;
    },
  };
}
