import { expect, test } from "vitest";
import { startAllInOne } from "../e2e/all-in-one.ts";
import { startFaultStage } from "./fault-stage.ts";
import { kinds, oddModels } from "./r18.ts";

/** The long row with all counts: `npm run faults -- r18`. */
test("answers of every kind of endpoint, cut anywhere, leave no half answer, open run or history that cannot be sent", async () => {
  const stage = await startFaultStage(startAllInOne);
  try {
    const { figures, breaches } = await oddModels(stage, { count: 1, atOnce: 16, seed: 1 });
    expect(breaches, figures).toEqual([]);
  } finally {
    await stage.stop();
  }
  expect(kinds.length).toBeGreaterThanOrEqual(30);
}, 60_000);
