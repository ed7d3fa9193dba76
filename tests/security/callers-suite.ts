import { afterAll, beforeAll, describe } from "vitest";
import { testRevocation } from "./revocation-suite.ts";
import { testSharedLimits } from "./shared-limits-suite.ts";
import { testSpendEvasion } from "./spend-evasion-suite.ts";
import { type StarterStage, startStarterStage } from "./starter-stage.ts";
import { testStarter } from "./starter-suite.ts";

/**
 * The tests of credentials that call a model, in one shape, on one system: its start costs more than most of them. Each
 * shape has a test file of its own, so that they run in parallel.
 */
export function testCallers(shape: "all-in-one" | "mesh", redisUrl = ""): void {
  let stage: StarterStage;
  beforeAll(async () => {
    stage = await startStarterStage(shape, redisUrl);
  }, 120_000);
  afterAll(() => stage?.close());
  const given = () => stage;

  // Exact counts come before any outage of Redis: for seconds after one, gateways serve only their shares.
  testSharedLimits(shape === "mesh" ? "two gateways" : shape, given);
  testSpendEvasion(shape, given);
  testRevocation(shape, given);
  describe(`a run acts as its starter, ${shape}`, () => testStarter(shape, given));
}
