/**
 * Row R7: readers that stop reading are cut after 30 s, cost little until then, and can resume their streams: `npm run
 * durability -- r7`.
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { onStores } from "./on-stores.ts";
import { PourGate, startPacedModel } from "./paced-model.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";
import { type StalledSurface, stallReaders } from "./slow-readers.ts";

const { values } = parseArgs({
  options: { readers: { type: "string", default: "200" }, surface: { type: "string", multiple: true } },
});
const readers = Number(values.readers);
const limitMs = 30_000;
const maxKib = 256;
/** Pieces that the model pours: 5 MiB on the wire, more than the kernel buffers for a reader. */
const pieces = 880;
const surfaces: readonly StalledSurface[] = ["completions", "run events", "turns"];

await onStores("slow-readers", async (stores) => {
  const [gate, endGate] = [new PourGate(), new PourGate()];
  const model = await startPacedModel({
    beforePouring: () => gate.passed(),
    beforeEnding: () => endGate.passed(),
    // Together they pour some 20 MiB per second.
    pourMs: Math.ceil(readers / 3),
  });
  const mesh = await startReplicatedMesh({
    model,
    ...stores,
    limit: "5s",
    replicas: 1,
  });
  try {
    for (const surface of surfaces) {
      if (values.surface !== undefined && !values.surface.includes(surface)) continue;
      const figures = await stallReaders(mesh, { surface, readers, pieces, limitMs, settleMs: 15_000, gate, endGate });
      const { kib, cutAfterMs, uncut, bySystem, wrongTexts, isNeighbourWell } = figures;
      const seconds = (ms = Number.NaN) => (ms / 1_000).toFixed(1);
      const memory = [...kib]
        .map(([name, { held, resident }]) => `${name} ${held} KiB held, ${resident} KiB resident`)
        .join("; ");
      const isSmall = [...kib.values()].every(({ held, resident }) => held <= maxKib && resident <= maxKib);
      const [least = Number.NaN, most = Number.NaN] = [cutAfterMs[0], cutAfterMs.at(-1)];
      const isTimely = uncut === 0 && least >= limitMs - 500 && most <= limitMs + 5_000;
      const mib = bySystem.map((bytes) => (bytes / 1_048_576).toFixed(1)).join(" to ");
      report(
        "R7",
        isSmall,
        `${surface}, ${figures.readers} stalled readers, for each: ${memory} (the system itself: ${mib} MiB)`,
      );
      report("R7", isTimely, `${surface}: cut after ${seconds(least)} to ${seconds(most)} s, ${uncut} not cut`);
      const texts =
        surface === "completions" ? "not told that it was cut" : "with another text than the stored one after resuming";
      report(
        "R7",
        wrongTexts === 0 && isNeighbourWell,
        `${surface}: ${wrongTexts} ${texts}; other readers ${isNeighbourWell ? "received all" : "were harmed"}`,
      );
    }
  } finally {
    await mesh.stop();
  }
});
