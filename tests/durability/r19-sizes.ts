/**
 * Row R19: messages, answers, tool results and conversations at and beyond their stated limits (docs/limits.md), in one
 * process and in a mesh: `npm run durability -- r19`. Prints the cases that do not hold.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startSystem } from "../e2e/system.ts";
import { report } from "../security/long/stage.ts";
import { onStores } from "./on-stores.ts";
import { onePiece, SizeStage } from "./sizes.ts";

const { values } = parseArgs({ options: { messages: { type: "string", default: "50" } } });
const messages = Math.max(2, Number(values.messages));

await onStores("sizes", async ({ dir, databaseUrl, redisUrl }) => {
  for (const shape of ["all-in-one", "mesh"] as const) {
    const stores = { TURNWRIGHT_DATA_DIR: join(dir, shape), REDIS_URL: redisUrl };
    const url = new URL(databaseUrl);
    const stage = await SizeStage.open(async (env) => {
      const system = await startSystem({ shape, env: { ...stores, DATABASE_URL: url.href, ...env } });
      return { system, databaseUrl: url.href };
    });
    try {
      const cases = await stage.play({ messages });
      const broken = cases.filter(({ complaint }) => complaint !== undefined);
      for (const { name, complaint } of broken) console.log(`    ${name}: ${complaint}`);
      const figure = `${shape}: ${cases.length} cases, ${broken.length} broken; the largest response has ${stage.largest} bytes`;
      report("R19", broken.length === 0 && stage.largest <= onePiece, `${figure}, limit ${onePiece}`);
    } finally {
      await stage.close();
    }
  }
});
