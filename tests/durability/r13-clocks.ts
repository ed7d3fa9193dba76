/**
 * Row R13: the clock of one part is five minutes off, for each part and both directions; then an hour off. Prints a
 * Markdown table: `npm run durability -- r13`.
 *
 *   node tests/durability/r13-clocks.ts --seconds 120      time of each mesh under load
 *   node tests/durability/r13-clocks.ts --part gateway
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { loadFor, partKinds, startShiftedMesh } from "./clocks.ts";
import { onStores } from "./on-stores.ts";
import { startPacedModel } from "./paced-model.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "120" }, part: { type: "string" } } });
const seconds = Number(values.seconds);
const parts = partKinds.filter((kind) => values.part === undefined || values.part === kind);
const fiveMinutes = 300_000;

const row = (cells: readonly unknown[]) => console.log(`| ${cells.join(" | ")} |`);
row(["Part", "Clock, min", "Calls", "Streams", "Failed", "/ready"]);
row(["---", "---", "---", "---", "---", "---"]);
let failed = 0;
let calls = 0;
for (const kind of parts) {
  for (const shiftMs of [fiveMinutes, -fiveMinutes]) {
    await onStores("clocks", async (stores) => {
      const model = await startPacedModel();
      const mesh = await startShiftedMesh({ ...stores, modelUrl: model.url }, { kind, shiftMs });
      try {
        const told = await loadFor(mesh, seconds);
        failed += told.failures.length + (told.notReady === undefined ? 0 : 1);
        calls += told.calls + told.streams;
        const first = told.failures.length === 0 ? "" : `: ${told.failures[0]}`;
        row([kind, shiftMs / 60_000, told.calls, told.streams, `${told.failures.length}${first}`, told.notReady ?? "200"]);
      } finally {
        await mesh.stop();
        await model.close();
      }
    });
  }
}
report("R13", failed === 0 && calls > 0, `${calls} calls and streams, ${seconds} s for each cell: ${failed} failed`);
