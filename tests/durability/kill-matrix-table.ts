/**
 * The kill matrix: kill -9 of each process of a mesh at each step of a run. Prints a Markdown table.
 *
 *   node tests/durability/kill-matrix-table.ts
 *   node tests/durability/kill-matrix-table.ts --part Redis --step acting
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { type CellResult, startKillMatrix } from "./kill-matrix.ts";
import { type StepName, steps } from "./kill-steps.ts";
import { partNames } from "./killable-mesh.ts";

const { values } = parseArgs({ options: { part: { type: "string" }, step: { type: "string" } } });
const parts = partNames.filter((name) => values.part === undefined || name === values.part);
const stepNames = (Object.keys(steps) as StepName[]).filter((name) => values.step === undefined || name === values.step);
const results: CellResult[] = [];
const begun = performance.now();
const matrix = await startKillMatrix();
try {
  for (const step of stepNames) {
    for (const part of parts) {
      const result = await matrix.play(part, step);
      results.push(result);
      for (const fault of result.faults) console.error(`${step} × ${part}: ${fault}`);
    }
  }
} finally {
  await matrix.stop();
}

const row = (cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
row(["Killed when", ...parts]);
row(["---", ...parts.map(() => "---")]);
for (const step of stepNames) {
  const cells = results.filter((result) => result.step === step);
  row([
    steps[step].name,
    ...cells.map(({ outcome, recoveryMs, faults }) =>
      faults.length > 0 ? `**BROKEN** (${outcome})` : `${outcome} ${recoveryMs}`,
    ),
  ]);
}
const broken = results.filter(({ faults }) => faults.length > 0).length;
const slowest = Math.max(...results.map(({ recoveryMs }) => recoveryMs));
report(
  "KILL-MATRIX",
  broken === 0 && results.length > 0,
  `${results.length} cells, ${broken} broken; slowest recovery ${slowest} ms; ${Math.round((performance.now() - begun) / 1_000)} s`,
);
