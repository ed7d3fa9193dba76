/**
 * Row S8: the calculator agrees with mathjs and nothing escapes it.
 * `node services/tool-executor/security/calculator.ts --count 1000000 --seed 1`
 */
import { parseArgs } from "node:util";
import { compareWithMathjs } from "../testing/calculator-comparison.ts";

const { values } = parseArgs({
  options: { count: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
});
const { count, disagreements, escapes, slowestMs } = compareWithMathjs({
  count: Number(values.count),
  seed: Number(values.seed),
});
const isKept = disagreements.length === 0 && escapes.length === 0 && slowestMs <= 50;
console.log(
  `S8  ${isKept ? "kept  " : "BROKEN"}  ${count} expressions (seed ${values.seed}): ` +
    `${disagreements.length} disagreements with mathjs, ${escapes.length} escapes, slowest ${slowestMs.toFixed(2)} ms (≤ 50 ms)`,
);
for (const line of [...disagreements, ...escapes].slice(0, 10)) console.log(`    ${line}`);
if (!isKept) process.exitCode = 1;
