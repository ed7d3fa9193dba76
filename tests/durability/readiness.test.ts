import { startRedisServer } from "@turnwright/testing/redis-server";
import { reportUntested } from "@turnwright/testing/untested";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ReadinessStage, startReadinessStage } from "./readiness.ts";

const probe = await startRedisServer();
await probe?.stop();
if (probe === undefined) reportUntested("the name of a dead or hung part in /ready", "Redis");

/** One cell of each kind of `npm run durability -- r16`. */
const cells = [
  ["tool-executor", "kill -9"],
  ["conversation", "SIGSTOP"],
  ["PostgreSQL", "SIGSTOP"],
  ["Redis", "kill -9"],
  ["agent-orchestrator", "signs of life not taken"],
] as const;

describe.skipIf(probe === undefined)("a dead or hung part", () => {
  let stage: ReadinessStage;

  beforeAll(async () => {
    stage = await startReadinessStage();
  }, 60_000);
  afterAll(async () => {
    await stage?.stop();
  }, 30_000);

  test.each(cells)(
    "is named by /ready within ten seconds until it is back: %s, %s",
    async (part, fault) => {
      const { complaints, seenMs, backMs } = await stage.play(part, fault, { afterwardsMs: 0 });
      process.stdout.write(
        `${part}, ${fault}: 503 after ${Math.round(seenMs ?? -1)} ms, 200 ${Math.round(backMs ?? -1)} ms after its end\n`,
      );
      expect(complaints).toEqual([]);
    },
    60_000,
  );
});
