import { startRedisServer } from "@turnwright/testing/redis-server";
import { reportUntested } from "@turnwright/testing/untested";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type KillMatrix, startKillMatrix } from "./kill-matrix.ts";
import { type StepName, steps } from "./kill-steps.ts";
import type { PartName } from "./killable-mesh.ts";

const probe = await startRedisServer();
await probe?.stop();
if (probe === undefined) reportUntested("kill -9 of one process of a mesh at a step of a run", "Redis");

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

describe.skipIf(probe === undefined)("kill -9 of one process of a mesh", () => {
  let matrix: KillMatrix;

  beforeAll(async () => {
    matrix = await startKillMatrix();
  }, 60_000);
  afterAll(async () => {
    await matrix?.stop();
  }, 30_000);

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
