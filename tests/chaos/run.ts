/**
 * The chaos driver: real processes, a real PostgreSQL and Redis, and whatever can happen to them.
 *
 *   npm run chaos                          all rows
 *   npm run chaos -- r1 r3                 some
 *   npm run chaos -- r1 --messages 500 --seed 7
 *
 * Prints the seed, what was done, each promise with its figure; ends with 1 when one was broken.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runChaos, settleMs } from "./chaos.ts";
import type { FaultPlan } from "./faults.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    messages: { type: "string" },
    clients: { type: "string", default: "24" },
    verbose: { type: "boolean", default: false },
  },
});

const calm: FaultPlan = {
  kills: false,
  freezes: false,
  lossRate: 0,
  postgresRestarts: 0,
  flushes: false,
  pauseMs: [2_000, 5_000],
};
const rows: Readonly<Record<string, { plan: FaultPlan; messages: number }>> = {
  r1: { plan: { ...calm, kills: true, freezes: true, flushes: true }, messages: 5_000 },
  r2: { plan: { ...calm, kills: true, lossRate: 0.1 }, messages: 5_000 },
  r3: { plan: { ...calm, postgresRestarts: 50, pauseMs: [500, 2_000] }, messages: 5_000 },
};

const asked = positionals.length > 0 ? positionals : Object.keys(rows);
let isKept = true;
for (const name of asked) {
  const row = rows[name];
  if (row === undefined) {
    console.error(`There is no row ${name}; there are ${Object.keys(rows).join(", ")}.`);
    process.exit(2);
  }
  const seed = Number(values.seed);
  console.log(`\n== ${name.toUpperCase()}, seed ${seed}`);
  const report = await runChaos({
    root: join(import.meta.dirname, "../.."),
    seed,
    messages: Number(values.messages ?? row.messages),
    clients: Number(values.clients),
    plan: row.plan,
    say: values.verbose ? (line) => console.log(`  ${new Date().toISOString()} ${line}`) : undefined,
  });
  const done = [...report.faults.counts].map(([what, count]) => `${what} × ${count}`).join(", ");
  console.log(`faults: ${done || "none"}`);
  const { before, after, passed } = report.losses;
  if (before + after > 0) console.log(`statements: ${passed} passed, ${before} lost, ${after} whose answer was lost`);
  console.log(`messages: ${report.sent.length} in ${report.seconds} s; runs: ${JSON.stringify(report.statuses)}`);
  if (Object.keys(report.failures).length > 0) console.log(`failed because: ${JSON.stringify(report.failures)}`);
  console.log(`streams taken up again: ${report.sent.reduce((sum, { resumed }) => sum + resumed, 0)}`);
  const { recoveriesMs } = report.faults;
  if (recoveriesMs.length > 0) {
    const slowest = Math.max(...recoveriesMs);
    console.log(`serving again after a restart of PostgreSQL: ${recoveriesMs.length} times, at most ${slowest} ms`);
    if (slowest > 5_000) isKept = false;
  }
  console.log(`all runs had ended ${report.settledMs} ms after the last fault (limit ${settleMs})`);
  for (const { name: promise, checked, breaches } of report.invariants) {
    console.log(`${breaches.length === 0 ? "kept  " : "BROKEN"} ${promise}: ${breaches.length} of ${checked}`);
    for (const breach of breaches.slice(0, 10)) console.log(`         ${breach}`);
    if (breaches.length > 0) isKept = false;
  }
  if (report.logs !== "") console.log(`logs: ${report.logs}`);
}
process.exitCode = isKept ? 0 : 1;
