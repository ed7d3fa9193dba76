/**
 * The chaos driver: injects faults into real processes, a real PostgreSQL and a real Redis.
 *
 *   npm run chaos                          all rows
 *   npm run chaos -- r1 r3                 some rows
 *   npm run chaos -- r1 --messages 500 --seed 7
 *   npm run chaos -- --break fencing       without a mechanism; must be noticed: exit code 1
 *
 * Prints the seed, the faults, and each promise with its figure; exits with 1 when one is broken. SIGINT to this
 * process alone (`kill -INT`) ends it early with the results so far.
 */
import { parseArgs } from "node:util";
import { breakages } from "./breakages.ts";
import { type ChaosReport, runChaos, settleMs } from "./chaos.ts";
import { calm, type FaultPlan } from "./faults.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    messages: { type: "string" },
    clients: { type: "string", default: "24" },
    break: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});

interface Row {
  readonly plan: FaultPlan;
  readonly messages: number;
}

const rows: Readonly<Record<string, Row>> = {
  r1: { plan: { ...calm, kills: "any", freezes: "any", flushes: true }, messages: 5_000 },
  r2: { plan: { ...calm, kills: "any", lossRate: 0.1 }, messages: 5_000 },
  r3: { plan: { ...calm, postgresRestarts: 50, pauseMs: [500, 2_000] }, messages: 1_000 },
};
/** Milliseconds within which the system must serve again after its database is back. */
const recoveryLimitMs = 5_000;

/** Returns a known entry, or ends the command. */
function known<T>(kind: string, all: Readonly<Record<string, T>>, name: string): T {
  const one = all[name];
  if (one !== undefined) return one;
  console.error(`Unknown ${kind} ${name}; known: ${Object.keys(all).join(", ")}.`);
  process.exit(2);
}

/** Prints the report; returns whether every promise was kept. */
function tell(report: ChaosReport): boolean {
  const done = [...report.faults.counts].map(([what, count]) => `${what} × ${count}`).join(", ");
  const total = [...report.faults.counts.values()].reduce((sum, count) => sum + count, 0);
  console.log(`faults: ${total} (${done || "none"})`);
  const { before, after, silent, passed } = report.losses;
  if (before + after > 0) {
    console.log(`statements: ${passed} passed, ${before} lost, ${after} lost their result; ${silent} of these timed out`);
  }
  console.log(`messages: ${report.sent.length} in ${report.seconds} s; runs: ${JSON.stringify(report.statuses)}`);
  if (Object.keys(report.failures).length > 0) console.log(`failed because: ${JSON.stringify(report.failures)}`);
  console.log(`resumed streams: ${report.sent.reduce((sum, { resumed }) => sum + resumed, 0)}`);
  let isKept = true;
  const { recoveriesMs } = report.faults;
  if (recoveriesMs.length > 0) {
    const slowest = Math.max(...recoveriesMs);
    console.log(
      `serving again after a restart of PostgreSQL: ${recoveriesMs.length} times, at most ${slowest} ms (limit ${recoveryLimitMs})`,
    );
    if (slowest > recoveryLimitMs) isKept = false;
  }
  console.log(`all runs had ended ${report.settledMs} ms after the last fault (limit ${settleMs})`);
  for (const { name: promise, checked, breaches } of report.invariants) {
    console.log(`${breaches.length === 0 ? "kept  " : "BROKEN"} ${promise}: ${breaches.length} of ${checked}`);
    for (const breach of breaches.slice(0, 10)) console.log(`         ${breach}`);
    if (breaches.length > 0) isKept = false;
  }
  if (report.logs !== "") console.log(`logs: ${report.logs}`);
  return isKept;
}

const breakage = values.break === undefined ? undefined : known("breakage", breakages, values.break);
const asked: (readonly [string, Row])[] = positionals.map((name) => [name.toUpperCase(), known("row", rows, name.toLowerCase())]);
if (asked.length === 0 && breakage === undefined)
  asked.push(...Object.entries(rows).map(([name, row]) => [name.toUpperCase(), row] as const));
if (asked.length === 0 && breakage !== undefined) asked.push([`without ${values.break}`, breakage]);

const seed = Number(values.seed);
const stopping = new AbortController();
process.once("SIGINT", () => {
  console.log("stopping: no further messages are sent; those sent so far are checked");
  stopping.abort();
});
let isKept = true;
for (const [name, row] of asked) {
  console.log(`\n== ${name}, seed ${seed}`);
  const report = await runChaos({
    seed,
    messages: Number(values.messages ?? row.messages),
    clients: Number(values.clients),
    plan: row.plan,
    broken: breakage,
    signal: stopping.signal,
    onProgress: (messages, untold) =>
      console.log(`  ${new Date().toISOString()} ${messages} messages, ${untold} without a known outcome`),
    say: values.verbose ? (line) => console.log(`  ${new Date().toISOString()} ${line}`) : undefined,
  });
  if (!tell(report)) isKept = false;
  if (stopping.signal.aborted) break;
}
process.exitCode = isKept ? 0 : 1;
