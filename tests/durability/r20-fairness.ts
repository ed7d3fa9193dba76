/**
 * Row R20: one user keeps hundreds of calls in flight that hang or have huge answers; another one asks meanwhile on
 * each surface: `npm run durability -- r20`. A model call takes 100 ms. Prints a Markdown table.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startSystem } from "../e2e/system.ts";
import { report } from "../security/long/stage.ts";
import { FairnessStage, type Quiet } from "./fairness.ts";
import { floods, surfaces } from "./fairness-calls.ts";

const { values } = parseArgs({
  options: {
    /** Calls that the flooding user keeps in flight. */
    calls: { type: "string", default: "500" },
    /** Only this kind of flood. */
    flood: { type: "string" },
    /** Requests of the other user for each figure. */
    requests: { type: "string", default: "400" },
  },
});
const count = Number(values.requests);
/** The most that the other user's p99 may grow. */
const mostGrowth = 2;
/** Time until a flood has filled every queue, in milliseconds. */
const fillMs = 3_000;

const dir = mkdtempSync(join(tmpdir(), "turnwright-fairness-"));
const stage = await FairnessStage.open((env) => startSystem({ shape: "all-in-one", env: { TURNWRIGHT_DATA_DIR: dir, ...env } }));
const row = (cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
const shown = ({ p50, p99 }: Quiet) => `${p50.toFixed(0)} / ${p99.toFixed(0)}`;
try {
  for (const surface of surfaces) await stage.measure(surface, 40);
  row(["Flood", "Surface", "Quiet, p50 / p99 ms", "Flooded, p50 / p99 ms", "p99 grows", "Failed"]);
  row(["---", "---", "---", "---", "---", "---"]);
  let worst = 0;
  let failed = 0;
  for (const flood of floods) {
    if (values.flood !== undefined && values.flood !== flood) continue;
    const quiet = new Map<string, Quiet>();
    for (const surface of surfaces) quiet.set(surface, await stage.measure(surface, count));
    const end = stage.flood(flood, Number(values.calls));
    await delay(fillMs);
    for (const surface of surfaces) {
      const before = quiet.get(surface) as Quiet;
      const during = await stage.measure(surface, count);
      const growth = during.p99 / before.p99;
      worst = Math.max(worst, growth);
      failed += during.failed;
      row([flood, surface, shown(before), shown(during), growth.toFixed(2), String(during.failed)]);
    }
    console.log(`    /ready: ${JSON.stringify(await stage.readiness())}`);
    const statuses = await end();
    const told = [...statuses].map(([status, times]) => `${times} × ${status}`).join(", ");
    console.log(`    the flooding user got: ${told || "no answer"}`);
    await delay(fillMs);
  }
  const figure = `${values.calls} calls of one user; another one's p99 grows by ${worst.toFixed(2)} at most, limit ${mostGrowth}`;
  report("R20", worst <= mostGrowth && failed === 0, `${figure}; ${failed} of its requests failed`);
} finally {
  await stage.close();
  rmSync(dir, { recursive: true, force: true });
}
