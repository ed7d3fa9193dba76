/**
 * The long durability suites, row by row: `npm run durability`. Each row prints its figure and whether it is kept; the
 * command exits with 1 when one is not.
 *
 *   npm run durability                  all rows
 *   npm run durability -- r11           some rows
 *   npm run durability -- --quick       a tenth of the counts
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { quick: { type: "boolean", default: false } } });
const root = join(import.meta.dirname, "../..");
const count = (name: string, full: number) => [`--${name}`, String(values.quick ? full / 10 : full)];

/** Node's arguments per row. */
const rows: Readonly<Record<string, readonly string[][]>> = {
  r7: [["tests/durability/r7-slow-readers.ts", ...count("readers", 200)]],
  r8: [["tests/durability/r8-disconnects.ts", ...count("completions", 100), ...count("turns", 40)]],
  r9: [["tests/durability/r9-idle-streams.ts", ...count("streams", 10_000)]],
  r11: [["tests/durability/r11-approvals.ts", ...count("runs", 200)]],
  r12: [["tests/durability/r12-double-text.ts", ...count("messages", 50)]],
  r19: [["tests/durability/r19-sizes.ts", ...count("messages", 50)]],
  r20: [["tests/durability/r20-fairness.ts", ...count("calls", 500), ...count("requests", 400)]],
  r21: [["tests/durability/r21-rotation.ts", ...count("approvals", 100)]],
  "kill-matrix": [["tests/durability/kill-matrix-table.ts"]],
  r15: [["tests/durability/r15-idempotency.ts", ...count("duplicates", 100)]],
  r13: [["tests/durability/r13-clocks.ts", ...count("seconds", 120)]],
  r16: [["tests/durability/r16-readiness.ts"]],
  r17: [["tests/durability/r17-frozen.ts", ...count("seconds", 60)]],
  r10: [["tests/durability/r10-drain.ts", ...count("terms", 100)]],
};

const asked = positionals.length > 0 ? positionals.map((row) => row.toLowerCase()) : Object.keys(rows);
const unknown = asked.filter((row) => !(row in rows));
if (unknown.length > 0) {
  console.error(`Unknown rows: ${unknown.join(", ")}; known: ${Object.keys(rows).join(", ")}.`);
  process.exit(2);
}
const failed: string[] = [];
for (const row of asked) {
  console.log(`\n== ${row.toUpperCase()}`);
  for (const args of rows[row] ?? []) {
    const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) failed.push(row.toUpperCase());
  }
}
console.log(failed.length === 0 ? `\nAll of ${asked.length} rows are kept.` : `\nNot kept: ${[...new Set(failed)].join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
