/**
 * Row R13: the clock of one part is five minutes off, for each part and both directions; then an hour off. Prints a
 * Markdown table: `npm run durability -- r13`.
 *
 *   node tests/durability/r13-clocks.ts --seconds 120      time of each mesh under load; 0: an hour off alone
 *   node tests/durability/r13-clocks.ts --part gateway
 */
import { parseArgs } from "node:util";
import type { MeshProcesses } from "../mesh/processes.ts";
import { report } from "../security/long/stage.ts";
import { loadFor, partKinds, skewOf, startShiftedMesh } from "./clocks.ts";
import { onStores } from "./on-stores.ts";
import { startPacedModel } from "./paced-model.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "120" }, part: { type: "string" } } });
const seconds = Number(values.seconds);
const parts = partKinds.filter((kind) => values.part === undefined || values.part === kind);
const fiveMinutes = 300_000;

const hour = 3_600_000;

async function withShifted<T>(
  shifted: { kind: (typeof partKinds)[number]; shiftMs: number },
  work: (mesh: MeshProcesses, dir: string) => Promise<T>,
): Promise<void> {
  await onStores("clocks", async (stores) => {
    const model = await startPacedModel();
    const mesh = await startShiftedMesh({ ...stores, modelUrl: model.url }, shifted);
    try {
      await work(mesh, stores.dir);
    } finally {
      await mesh.stop();
      await model.close();
    }
  });
}

const row = (cells: readonly unknown[]) => console.log(`| ${cells.join(" | ")} |`);
row(["Part", "Clock, min", "Calls", "Streams", "Failed", "/ready"]);
row(["---", "---", "---", "---", "---", "---"]);
let failed = 0;
let calls = 0;
for (const kind of parts) {
  for (const shiftMs of seconds > 0 ? [fiveMinutes, -fiveMinutes] : []) {
    await withShifted({ kind, shiftMs }, async (mesh) => {
      const told = await loadFor(mesh, seconds);
      failed += told.failures.length + (told.notReady === undefined ? 0 : 1);
      calls += told.calls + told.streams;
      const first = told.failures.length === 0 ? "" : `: ${told.failures[0]}`;
      row([kind, shiftMs / 60_000, told.calls, told.streams, `${told.failures.length}${first}`, told.notReady ?? "200"]);
    });
  }
}
report("R13", failed === 0, `${calls} calls and streams, ${seconds} s for each cell: ${failed} failed`);

row(["Part", "Clock, min", "Statuses", "/ready", "Logs"]);
row(["---", "---", "---", "---", "---"]);
const unclear: string[] = [];
for (const kind of parts) {
  for (const shiftMs of [hour, -hour]) {
    await withShifted({ kind, shiftMs }, async (mesh, dir) => {
      const { statuses, ready, logs } = await skewOf(mesh, dir);
      row([kind, shiftMs / 60_000, [...statuses].join(", "), ready, logs.join(", ")]);
      const direction = shiftMs > 0 ? "ahead of" : "behind";
      const isNamed = ready.includes(`${kind} is not ready: its clock is 60 min ${direction} those of the other parts.`);
      if (statuses.has(401) || !isNamed || logs.length === 0) unclear.push(`${kind} ${shiftMs / 60_000}`);
    });
  }
}
const told = "answered 401, not named by /ready, or not in a log";
report("R13", unclear.length === 0, `${2 * parts.length} clocks an hour off, ${unclear.length} ${told}: ${unclear.join(", ")}`);
