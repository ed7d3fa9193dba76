/**
 * Row R9: streams in which nothing happens cost memory and nothing else: `npm run durability -- r9`. The gateway and
 * the process of the clients hold a descriptor for each stream, the orchestrator and the model one for each call of a
 * model: `ulimit -n` must be above the number of streams, 12,000 for 10,000.
 */
import { parseArgs } from "node:util";
import { report } from "../security/long/stage.ts";
import { holdIdleStreams, idleKinds } from "./idle-streams.ts";
import { onStores } from "./on-stores.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "10000" },
    kind: { type: "string", multiple: true },
    "hold-seconds": { type: "string", default: "45" },
  },
});
const streams = Number(values.streams);
const maxBytes = 250_000_000;
const maxP99Ms = 100;
const mb = (bytes = Number.NaN) => (bytes / 1_000_000).toFixed(0);

for (const kind of idleKinds) {
  if (values.kind !== undefined && !values.kind.includes(kind)) continue;
  await onStores("idle-streams", async (stores) => {
    const mesh = await startReplicatedMesh({
      ...stores,
      limit: "5s",
      replicas: 1,
      // Every turn and completion holds a call of a model that does not answer.
      env: { LLM_CONNECTIONS: "10000", LLM_TIMEOUT: "20m", AGENT_MAX_RUNS: "20000", AGENT_RUN_TIMEOUT: "20m", LOG_LEVEL: "warn" },
    });
    try {
      const holdMs = Number(values["hold-seconds"]) * 1_000;
      const figures = await holdIdleStreams(mesh, { kind, streams, holdMs, settleMs: 10_000 });
      const { dropped, refusal, grown, processors, p99Ms, asked, toldAfterMs } = figures;
      const memory = [...grown].map(([name, { held, resident }]) => `${name} ${mb(held)} MB held, ${mb(resident)} MB resident`);
      const largest = Math.max(...[...grown.values()].map(({ resident }) => resident));
      report("R9", largest <= maxBytes, `${kind}, ${streams} idle streams add: ${memory.join("; ")}`);
      report("R9", dropped === 0, `${kind}: ${dropped} dropped in ${values["hold-seconds"]} s${refusal ? `: ${refusal}` : ""}`);
      const load = [...processors].map(([name, share]) => `${name} ${(share * 100).toFixed(0)} %`).join(", ");
      report("R9", p99Ms <= maxP99Ms, `${kind}: p99 of ${asked} unrelated requests ${p99Ms.toFixed(0)} ms; processor: ${load}`);
      if (toldAfterMs !== undefined) {
        report("R9", toldAfterMs < 2_000, `${kind}: a cancelled run's stream ends after ${toldAfterMs.toFixed(0)} ms`);
      }
    } finally {
      await mesh.stop();
    }
  });
}
