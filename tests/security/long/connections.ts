/**
 * Row S15: memory and descriptors that a gateway holds while clients open streams and connections and never read: `npm
 * run security -- s15`. `--count` bounds the connections of each attack.
 */
import { parseArgs } from "node:util";
import { type Attack, attacks, floods } from "../connection-attacks.ts";
import { type MeasuredGateway, startMeasuredGateway } from "../measured-gateway.ts";
import type { Holdings } from "../measured-gateway-process.ts";
import { report } from "./stage.ts";

const { values } = parseArgs({
  options: { count: { type: "string", default: "10000" }, only: { type: "string" }, env: { type: "string", default: "{}" } },
});
const mib = 1_048_576;
/** The default limit of an address, and as much again for its overhead. */
const maxTotalMib = 128;
/** Descriptors beyond one per connection. */
const spareDescriptors = 5;
const maxConnections = 2_000;

/** Memory and descriptors once they no longer change: all input is parsed as far as it will be. */
async function settledHoldings(gateway: MeasuredGateway): Promise<Holdings> {
  let last = await gateway.holdings();
  let peak = last.peak;
  for (let round = 0; round < 20; round += 1) {
    const now = await gateway.holdings();
    peak = Math.max(peak, now.peak);
    if (now.logged === last.logged) return { ...now, peak };
    last = now;
  }
  return { ...last, peak };
}

async function measure(gateway: MeasuredGateway, attack: Attack): Promise<void> {
  const connections = Math.min(attack.connections, Number(values.count));
  const before = await settledHoldings(gateway);
  const standing = await attack.perform(gateway, connections);
  const during = await settledHoldings(gateway);
  const startedAt = performance.now();
  const served = await fetch(`http://127.0.0.1:${gateway.port}/health`).then(
    (response) => `${response.status} in ${Math.round(performance.now() - startedAt)} ms`,
    () => "refused",
  );
  const open = standing.open;
  standing.end();
  const after = await settledHoldings(gateway);
  const grown = (of: Holdings, what: "held" | "resident") => (of[what] - before[what]) / mib;
  const held = grown(during, "held");
  const descriptors = during.descriptors - before.descriptors;
  const peak = (during.peak - before.resident) / mib;
  const isKept =
    held <= maxTotalMib &&
    descriptors <= Math.min(connections, maxConnections) + spareDescriptors &&
    grown(after, "held") <= 16 &&
    after.descriptors - before.descriptors <= spareDescriptors;
  report(
    "S15",
    isKept,
    `${attack.name}, ${connections} connections (${open} left): ${held.toFixed(1)} MiB held ` +
      `(${((held * 1_024) / connections).toFixed(0)} KiB each), ${peak.toFixed(0)} MiB more resident at the most, ${descriptors} descriptors; ` +
      `an unrelated request: ${served}; afterwards ${grown(after, "held").toFixed(1)} MiB held, ` +
      `${grown(after, "resident").toFixed(0)} MiB resident, ${after.descriptors - before.descriptors} descriptors`,
  );
}

const gateway = await startMeasuredGateway(JSON.parse(values.env) as Record<string, string>);
try {
  for (const attack of [...attacks, ...floods]) {
    if (values.only === undefined || attack.name.includes(values.only)) await measure(gateway, attack);
  }
} finally {
  await gateway.stop();
}
