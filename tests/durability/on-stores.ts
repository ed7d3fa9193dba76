import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { startRedisServer } from "@turnwright/testing/redis-server";

/** The stores of a long suite. */
export interface Stores {
  /** Directory for logs, kept when the suite has reported a breach. */
  readonly dir: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
}

/** Does work on its own PostgreSQL and Redis and stops them afterwards. Throws when redis-server is not on the PATH. */
export async function onStores(name: string, work: (stores: Stores) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), `turnwright-${name}-`));
  chmodSync(dir, 0o711);
  const logger = createLogger({ service: name, level: "error" });
  const settings = { max_connections: "300" };
  const postgres = await startEmbeddedPostgres({ dataDir: join(dir, "postgres"), logger, settings });
  const redis = await startRedisServer();
  try {
    if (redis === undefined) throw new Error("There is no redis-server on the PATH.");
    await work({ dir, databaseUrl: postgres.url, redisUrl: redis.url });
  } finally {
    await redis?.stop();
    await postgres.stop();
    if (process.exitCode === undefined) rmSync(dir, { recursive: true, force: true });
    else console.log(`    logs: ${dir}`);
  }
}
