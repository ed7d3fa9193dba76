import { afterAll, beforeAll, expect, test } from "vitest";
import { startAllInOne } from "../e2e/all-in-one.ts";
import { FairnessStage } from "./fairness.ts";
import { surfaces } from "./fairness-calls.ts";

/** A slice of `npm run durability -- r20`: with 16 connections, one user keeps 60 calls in flight that hang. */
let stage: FairnessStage;
beforeAll(async () => {
  stage = await FairnessStage.open((env) =>
    startAllInOne({ LLM_CONNECTIONS: "16", LLM_QUEUE_TIMEOUT: "1s", SERVER_SHUTDOWN_TIMEOUT: "1s", ...env }),
  );
});
afterAll(() => stage.close());

test("one user's hung calls make no other user wait or fail, on any surface", async () => {
  const end = stage.flood("hung", 60);
  await expect
    .poll(() => stage.readiness(), { timeout: 10_000 })
    .toMatchObject({
      data: { status: "ready", details: { "agent-orchestrator": { queues: [{ provider: "default", in_progress: 12 }] } } },
    });
  for (const surface of surfaces) {
    const { p99, failed } = await stage.measure(surface, 10, 1);
    expect({ surface, failed }).toEqual({ surface, failed: 0 });
    // Behind the flood it would take until the model's time limit, 120 s.
    expect(p99).toBeLessThan(2_000);
  }
  const statuses = await end();
  expect([...statuses.keys()].sort()).toEqual([429]);
});
