/** Keys that are revoked while they make webhooks: none of these may be left enabled. `--count` rounds; ends with 1 when one is. */
import { parseArgs } from "node:util";
import { closedUrl, startStage } from "../stage.ts";
import { raceWebhooks } from "../webhook-races.ts";
import { report } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "1000" } } });
const rounds = Math.max(1, Math.round(Number(values.count)));
const stage = await startStage();
try {
  const { made, left } = await raceWebhooks(stage, { rounds, url: closedUrl, boundMs: 5_000 });
  const figure = `revoke × create a webhook: ${rounds} rounds, ${made} webhooks made, ${left} left enabled`;
  report("S22", left === 0 && made > 0, figure);
} finally {
  await stage.stop();
}
