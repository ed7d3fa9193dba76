/**
 * Row R8: disconnecting from a completion ends its model call within a second; disconnecting from a stored turn ends
 * nothing: `npm run durability -- r8`.
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { leaveCompletions, leaveTurns, logIn, ModelWatch, moments, protocols } from "./disconnects.ts";
import { onStores } from "./on-stores.ts";
import { startPacedModel } from "./paced-model.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({
  options: {
    /** Completions left at each moment over each protocol. */
    completions: { type: "string", default: "100" },
    /** Turns left, streamed and not, over each protocol. */
    turns: { type: "string", default: "25" },
  },
});
const limitMs = 1_000;
await onStores("disconnects", async (stores) => {
  const watch = new ModelWatch();
  const model = await startPacedModel(watch);
  const mesh = await startReplicatedMesh({ ...stores, limit: "5s", replicas: 1, model });
  try {
    const baseUrl = mesh.gateways[0] ?? "";
    const left = { baseUrl, token: await logIn(baseUrl), model: watch };
    for (const protocol of protocols) {
      for (const moment of moments) {
        const took = await leaveCompletions(left, { protocol, moment, count: Number(values.completions), atOnce: 10 });
        const at = (share: number) =>
          took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.POSITIVE_INFINITY;
        const figures = `p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms, max ${at(1).toFixed(0)} ms`;
        report(
          "R8",
          at(0.99) <= limitMs,
          `${protocol}, ${moment}, ${took.length} left: the model's call closed after ${figures}`,
        );
      }
      for (const streamed of [true, false]) {
        const turns = await leaveTurns(left, { count: Number(values.turns), streamed, protocol });
        const figures = `${turns.left - turns.unanswered} answered and stored in full, ${turns.closed} model calls closed early`;
        const isKept = turns.unanswered === 0 && turns.closed === 0;
        report(
          "R8",
          isKept,
          `${protocol}, stored turns ${streamed ? "streamed" : "not streamed"}, ${turns.left} left: ${figures}`,
        );
      }
    }
  } finally {
    await mesh.stop();
  }
});
