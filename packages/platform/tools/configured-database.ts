import { z } from "zod";
import { startEmbeddedPostgres } from "../src/embedded-postgres.ts";
import { loadConfig } from "../src/env.ts";
import { createLogger } from "../src/logger.ts";
import { databaseUrl, postgresEnv } from "../src/postgres.ts";

/** Runs `work` on the configured database, or on the embedded one of the data directory. */
export async function withConfiguredDatabase(work: (url: string) => Promise<void>): Promise<void> {
  const config = loadConfig(z.object({ ...postgresEnv, TURNWRIGHT_DATA_DIR: z.string().default(".turnwright") }));
  const configured = databaseUrl(config);
  if (configured !== undefined) return await work(configured);
  const logger = createLogger({ service: "tools", level: "warn" });
  const embedded = await startEmbeddedPostgres({ dataDir: config.TURNWRIGHT_DATA_DIR, logger });
  try {
    await work(embedded.url);
  } finally {
    await embedded.stop();
  }
}
