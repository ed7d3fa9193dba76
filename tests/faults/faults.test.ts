import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "../e2e/all-in-one.ts";
import { type FaultStage, startFaultStage } from "./fault-stage.ts";
import { type JudgedCell, judgeAll, withFallback } from "./r5.ts";

let stage: FaultStage;
beforeAll(async () => {
  stage = await startFaultStage(startAllInOne);
});
afterAll(() => stage.stop());

/** The long rows with all counts: `npm run faults`. */
describe("a failing endpoint", () => {
  test("ends each request with an answer or an error, within the bounds of R5", async () => {
    const cells: JudgedCell[] = [];
    await judgeAll(stage, { count: 2, atOnce: 2, settleMs: 0, cellsAtOnce: 24 }, (cell) => cells.push(cell));
    expect(cells).toHaveLength(24);
    expect(cells.filter(({ breaches }) => breaches.length > 0)).toEqual([]);
  }, 60_000);

  test("hands each request to a fallback that answers, unless text was shown", async () => {
    const cells: JudgedCell[] = [];
    await withFallback(startAllInOne, { count: 2, atOnce: 2, settleMs: 0, cellsAtOnce: 24 }, (cell) => cells.push(cell));
    expect(cells).toHaveLength(24);
    expect(cells.filter(({ breaches }) => breaches.length > 0)).toEqual([]);
  }, 60_000);
});
