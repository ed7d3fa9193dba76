/**
 * Row R16: milliseconds until /ready answers 503 with the name of a dead or hung part, and 200 once it is back. Prints
 * a Markdown table.
 *
 *   node tests/durability/r16-readiness.ts
 *   node tests/durability/r16-readiness.ts --part auth        or all-in-one
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { limitMs, type ReadinessCell, startReadinessStage } from "./readiness.ts";
import { playAllInOne } from "./readiness-all-in-one.ts";

const { values } = parseArgs({ options: { part: { type: "string" } } });
const results: ReadinessCell[] = [];
const stage = await startReadinessStage();
try {
  for (const { part, name } of stage.cells) {
    if (values.part === undefined || values.part === part) results.push(await stage.play(part, name));
  }
} finally {
  await stage.stop();
}
if (values.part === undefined || values.part === "all-in-one") results.push(...(await playAllInOne()));

const row = (cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
const rounded = (ms: number | undefined) => (ms === undefined ? "–" : String(Math.round(ms)));
row(["Part", "Fault", "503 after, ms", "200 after its end, ms", ""]);
row(["---", "---", "---", "---", "---"]);
for (const { part, fault, seenMs, backMs, complaints } of results) {
  row([part, fault, rounded(seenMs), rounded(backMs), complaints.length === 0 ? "named" : `**${complaints.join("; ")}**`]);
}
const broken = results.filter(({ complaints }) => complaints.length > 0).length;
const slowest = Math.max(...results.map(({ seenMs = Number.POSITIVE_INFINITY }) => seenMs));
report(
  "R16",
  broken === 0 && results.length > 0,
  `${results.length} cells, ${broken} broken; the slowest 503 after ${Math.round(slowest)} ms, limit ${limitMs} ms`,
);
