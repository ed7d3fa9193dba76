/**
 * Row S22: keys revoked while they create webhooks leave none enabled: `node tests/security/long/webhook-races.ts
 * --count 300`.
 */
import { parseArgs } from "node:util";
import { raceWebhooks } from "../webhook-races.ts";
import { report, withSystem } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "300" } } });
const rounds = Math.max(1, Math.round(Number(values.count)));

// No listener there.
const host = "127.0.0.1:1";
await withSystem({ RATE_LIMIT_ENABLED: "false", WEBHOOK_ALLOWED_HOSTS: host, LOG_LEVEL: "error" }, async ({ baseUrl }) => {
  const { made, left } = await raceWebhooks(baseUrl, { rounds, url: `http://${host}/hook`, boundMs: 5_000 });
  const figure = `revoke × create a webhook: ${rounds} rounds, ${made} webhooks made, ${left} left enabled`;
  report("S22", left === 0 && made > 0, figure);
});
