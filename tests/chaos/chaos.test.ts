import { testRedis } from "@turnwright/testing/redis";
import { expect, test } from "vitest";
import { runChaos } from "./chaos.ts";
import { calm } from "./faults.ts";

const redis = await testRedis("a mesh under kill -9");

test.skipIf(redis === undefined)(
  "a mesh whose processes are killed at random loses no message, repeats no tool effect and no text",
  async () => {
    const report = await runChaos({
      seed: 20_261_124,
      messages: 60,
      clients: 6,
      plan: { ...calm, kills: "any", mostAway: 1, pauseMs: [500, 1_500] },
    });
    expect(report.invariants.flatMap(({ name, breaches }) => breaches.map((breach) => `${name}: ${breach}`))).toEqual([]);
    expect(report.sent).toHaveLength(60);
    expect([...report.faults.counts.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  },
  240_000,
);
