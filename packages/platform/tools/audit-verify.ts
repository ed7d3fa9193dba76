/**
 * Verifies the audit logs: `npm run audit:verify`, or against a head recorded earlier: `npm run audit:verify --
 * --expect auth:<hash>`. Exits with 1 when an entry was changed or removed, or the log was truncated.
 */
import { parseArgs } from "node:util";
import { createLogger } from "../src/logger.ts";
import { verifyAuditLog } from "../src/postgres/audit-chain.ts";
import { createPool } from "../src/postgres/pool.ts";
import { withConfiguredDatabase } from "./configured-database.ts";

const schemas = ["auth", "conversation"] as const;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { expect: { type: "string", multiple: true, default: [] } } });
  const expected = new Map(values.expect.map((pair) => pair.split(":", 2) as [string, string]));
  const unknown = [...expected.keys()].find((name) => !schemas.some((schema) => schema === name));
  if (unknown !== undefined)
    throw new Error(`--expect: there is no log ${JSON.stringify(unknown)}; there are ${schemas.join(", ")}`);
  await withConfiguredDatabase(async (url) => {
    const logger = createLogger({ service: "audit", level: "warn" });
    const pool = createPool({ url, max: 1, applicationName: "turnwright-audit", logger, statementTimeoutMs: 0 });
    try {
      for (const schema of schemas) {
        const { entries, head, fault } = await verifyAuditLog(pool, schema, expected.get(schema));
        if (fault === undefined) console.log(`${schema}: ${entries} entries, intact; head ${head}`);
        else {
          console.error(`${schema}: BROKEN at entry ${fault.seq}: ${fault.what}; ${entries} entries before it are intact`);
          process.exitCode = 1;
        }
      }
    } finally {
      await pool.end();
    }
  });
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
