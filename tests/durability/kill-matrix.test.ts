import { startRedisServer } from "@turnwright/testing/redis-server";
import { reportUntested } from "@turnwright/testing/untested";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type KillMatrix, startKillMatrix } from "./kill-matrix.ts";
import { type StepName, steps } from "./kill-steps.ts";
import type { PartName } from "./killable-mesh.ts";
import { faultsOf, playFault } from "./readiness.ts";

const probe = await startRedisServer();
await probe?.stop();
if (probe === undefined)
  reportUntested("kill -9 of one process of a mesh, and the name of a dead or hung part in /ready", "Redis");

/** The riskiest of the 56 cells of `npm run durability -- kill-matrix`. */
const cells: readonly [PartName, StepName, readonly string[]][] = [
  ["agent-orchestrator", "speaking", ["completed"]],
  ["tool-executor", "acting", ["needs_review"]],
  ["agent-orchestrator", "acting", ["completed"]],
  ["Redis", "acting", ["completed"]],
  ["agent-orchestrator", "acted", ["completed"]],
  ["gateway", "parked", ["waiting"]],
  ["conversation", "decided", ["completed"]],
  ["PostgreSQL", "said", ["completed"]],
];

/** One cell of each kind of `npm run durability -- r16`. */
const faults = [
  ["tool-executor", "kill -9"],
  ["conversation", "SIGSTOP"],
  ["PostgreSQL", "SIGSTOP"],
  ["Redis", "kill -9"],
  ["agent-orchestrator", "signs of life not taken"],
] as const;

describe.skipIf(probe === undefined)("a mesh with one process of each kind", () => {
  let matrix: KillMatrix;

  beforeAll(async () => {
    matrix = await startKillMatrix();
  }, 120_000);
  afterAll(async () => {
    await matrix?.stop();
  }, 30_000);

  describe("kill -9 of one process of a mesh", () => {
    test.each(cells)(
      "loses and repeats nothing: %s, %s",
      async (part, step, outcomes) => {
        const { faults, outcome, recoveryMs } = await matrix.play(part, step);
        process.stdout.write(`${part} × ${steps[step].name}: ${outcome} ${recoveryMs} ms after the restart began\n`);
        expect(faults).toEqual([]);
        expect(outcomes).toContain(outcome);
      },
      60_000,
    );
  });

  describe("a dead or hung part", () => {
    test.each(faults)(
      "is named by /ready within ten seconds until it is back: %s, %s",
      async (part, name) => {
        const cell = faultsOf(matrix.mesh).find((one) => one.part === part && one.name === name);
        if (cell === undefined) throw new Error(`unknown cell ${part}, ${name}`);
        const { complaints, seenMs, backMs } = await playFault(matrix.mesh.baseUrl, { ...cell, afterwardsMs: 0 });
        process.stdout.write(
          `${part}, ${name}: 503 after ${Math.round(seenMs ?? -1)} ms, 200 ${Math.round(backMs ?? -1)} ms after its end\n`,
        );
        expect(complaints).toEqual([]);
      },
      60_000,
    );
  });
});
