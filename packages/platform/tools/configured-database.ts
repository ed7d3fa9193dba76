import { z } from "zod";
import { loadConfig } from "../src/config/env.ts";
import { databaseUrl, postgresEnv } from "../src/config/postgres-env.ts";
import { startEmbeddedPostgres } from "../src/embedded-postgres/embedded-postgres.ts";
import { runningEmbeddedUrl } from "../src/embedded-postgres/running-server.ts";
import { createLogger } from "../src/logger.ts";

/** Environment variables of the database tools. */
export const databaseToolConfig = z.object({
  ...postgresEnv,
  TURNWRIGHT_DATA_DIR: z.string().default(".turnwright"),
  /** Passwords of the services' own logins; `migrate:up` creates the logins whose password is set. */
  DB_AUTH_PASSWORD: z.string().min(16).optional(),
  DB_CONVERSATION_PASSWORD: z.string().min(16).optional(),
  DB_TOOL_PASSWORD: z.string().min(16).optional(),
  /** The administrator's login with which `db:prepare` prepares the server. */
  DB_ADMIN_USER: z.string().optional(),
  DB_ADMIN_PASSWORD: z.string().optional(),
});

/** The parsed environment of a tool. */
export type DatabaseToolConfig = z.output<typeof databaseToolConfig>;

/**
 * Runs `work` on the configured database, or on the embedded one of the data directory, started for it. `attach`: also
 * on the one that Turnwright runs at this moment.
 */
export async function withConfiguredDatabase(
  work: (url: string, config: DatabaseToolConfig) => Promise<void>,
  { attach = false } = {},
): Promise<void> {
  const config = loadConfig(databaseToolConfig);
  const configured = databaseUrl(config);
  if (configured !== undefined) return await work(configured, config);
  const logger = createLogger({ service: "tools", level: "warn" });
  const running = attach ? await runningEmbeddedUrl(config.TURNWRIGHT_DATA_DIR, logger) : undefined;
  if (running !== undefined) return await work(running, config);
  const embedded = await startEmbeddedPostgres({ dataDir: config.TURNWRIGHT_DATA_DIR, logger });
  try {
    await work(embedded.url, config);
  } finally {
    await embedded.stop();
  }
}
