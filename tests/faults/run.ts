/**
 * Failing model endpoints against a real system in one process: `npm run faults`.
 *
 *   npm run faults                       R5 alone and with a fallback, R6, R18
 *   npm run faults -- r5 r6              some rows: r5, r5-fallback, r6, r18
 *   npm run faults -- --count 50         requests per cell; default 500
 *   npm run faults -- --seed 7           the cuts of r18
 *
 * Prints one line per cell with its figures, and the bounds that it breaks; exits with 1 when there is one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startSystem } from "../e2e/system.ts";
import { report } from "../security/long/stage.ts";
import { type StartSystem, startFaultStage } from "./fault-stage.ts";
import { alone, type JudgedCell, withFallback } from "./r5.ts";
import { breaker } from "./r6.ts";
import { oddModels } from "./r18.ts";
import type { Verdict } from "./verdict.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "500" },
    clients: { type: "string", default: "32" },
    seed: { type: "string", default: "1" },
  },
});
const count = Number(values.count);
const atOnce = Number(values.clients);

const start: StartSystem = async (env) => {
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-faults-"));
  const system = await startSystem({ shape: "all-in-one", env: { TURNWRIGHT_DATA_DIR: dataDir, ...env } });
  return {
    ...system,
    async stop() {
      const code = await system.stop();
      rmSync(dataDir, { recursive: true, force: true });
      return code;
    },
  };
};

function tell(row: string, name: string, { figures, breaches }: Verdict): void {
  report(row, breaches.length === 0, `${name}: ${figures}`);
  for (const breach of breaches.slice(0, 20)) console.log(`         ${breach}`);
  if (breaches.length > 20) console.log(`         and ${breaches.length - 20} more`);
}
const cell = (judged: JudgedCell) => tell("R5", judged.name, judged);

const rows: Readonly<Record<string, () => Promise<void>>> = {
  r5: () => alone(start, { count, atOnce, settleMs: 2_500 }, cell),
  "r5-fallback": () => withFallback(start, { count, atOnce, settleMs: 2_500 }, cell),
  r6: async () =>
    tell("R6", "breaker", await breaker(start, { seconds: 15, requests: count * 2, say: (line) => console.log(line) })),
  r18: async () => {
    const stage = await startFaultStage(start);
    try {
      const each = Math.max(3, Math.ceil(count / 25));
      tell("R18", `seed ${values.seed}`, await oddModels(stage, { count: each, atOnce, seed: Number(values.seed) }));
    } finally {
      await stage.stop();
    }
  },
};
const asked = positionals.length > 0 ? positionals.map((row) => row.toLowerCase()) : Object.keys(rows);
const unknown = asked.filter((row) => !(row in rows));
if (unknown.length > 0) {
  console.error(`Unknown rows: ${unknown.join(", ")}; known: ${Object.keys(rows).join(", ")}.`);
  process.exit(2);
}
for (const row of asked) {
  const started = performance.now();
  console.log(`\n== ${row.toUpperCase()}`);
  await rows[row]?.();
  console.log(`   ${((performance.now() - started) / 1000).toFixed(0)} s`);
}
