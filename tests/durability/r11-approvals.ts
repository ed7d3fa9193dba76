/**
 * Row R11: of 100 decisions that race for a run, exactly one wins and its call is made once, for 200 runs, half of them
 * decided after a kill -9 of every process: `node tests/durability/r11-approvals.ts --runs 200 --decisions 100 --shape
 * mesh`.
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { isFair, raceApprovals } from "./approval-races.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "200" },
    decisions: { type: "string", default: "100" },
    /** `all-in-one` or `mesh`. */
    shape: { type: "string", default: "mesh" },
  },
});
const shape = values.shape === "all-in-one" ? "all-in-one" : "mesh";
const begun = performance.now();
const figures = await raceApprovals({ shape, runs: Number(values.runs), decisions: Number(values.decisions) });
const { runs, decisions, approved, rejected, withoutOneWinner, effects, wrongEffects, wrongRecords, lateWinners, oddAnswers } =
  figures;
const seconds = ((performance.now() - begun) / 1_000).toFixed(0);
report(
  "R11",
  isFair(figures),
  `${shape}, ${decisions} decisions on ${runs} runs, two kill -9 of all, ${seconds} s: ${approved} approved, ${rejected} rejected, ` +
    `${withoutOneWinner} without one winner, ${lateWinners} late winners; ${effects} effects, ${wrongEffects} wrong; ` +
    `${wrongRecords} wrong records; ${oddAnswers.length} odd answers`,
);
for (const answer of new Set(oddAnswers)) console.log(`     ${answer}`);
