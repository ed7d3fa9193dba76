import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type pg from "pg";
import { z } from "zod";
import { ConfigError, loadConfig } from "../src/config/env.ts";
import { databaseUrl, postgresEnv } from "../src/config/postgres-env.ts";
import { startEmbeddedPostgres } from "../src/embedded-postgres/embedded-postgres.ts";
import { runningEmbeddedUrl } from "../src/embedded-postgres/running-server.ts";
import { createLogger } from "../src/logger.ts";
import { explainDatabaseFault } from "../src/postgres/database-fault.ts";
import { type MigratedService, migratedRolePrefix } from "../src/postgres/migrations.ts";
import { leastConnections, openServiceDatabase } from "../src/postgres/service-database.ts";

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
 * on the one that Turnwright runs at this moment, and never on a new one. Throws ConfigError.
 */
export async function withConfiguredDatabase(
  work: (url: string, config: DatabaseToolConfig) => Promise<void>,
  { attach = false } = {},
): Promise<void> {
  const config = loadConfig(databaseToolConfig);
  const configured = databaseUrl(config);
  if (configured !== undefined) return await work(configured, config);
  const logger = createLogger({ service: "tools", level: "warn" });
  const dataDir = resolve(config.TURNWRIGHT_DATA_DIR);
  if (attach && !existsSync(dataDir)) throw new ConfigError([`TURNWRIGHT_DATA_DIR: there is no directory ${dataDir}`]);
  const running = attach ? await runningEmbeddedUrl(config.TURNWRIGHT_DATA_DIR, logger) : undefined;
  if (running !== undefined) return await work(running, config);
  const embedded = await startEmbeddedPostgres({ dataDir: config.TURNWRIGHT_DATA_DIR, logger });
  try {
    await work(embedded.url, config);
  } finally {
    await embedded.stop();
  }
}

/**
 * Runs `work` on the pool of a service for all users, on the database that the running system uses, if it runs. The
 * schema must be migrated by this release. Throws ConfigError.
 */
export async function withServicePool(schema: MigratedService, work: (pool: pg.Pool) => Promise<void>): Promise<void> {
  await withConfiguredDatabase(
    async (url, config) => {
      // A connection that ends together with the embedded server is no news.
      const logger = createLogger({ service: "tools", level: "error" });
      try {
        const rolePrefix = await migratedRolePrefix({ url, service: schema });
        const isPrepared = config.DB_PREPARED_STATEMENTS;
        const database = openServiceDatabase({ url, schema, max: leastConnections, logger, isPrepared, rolePrefix });
        try {
          await work(database.pool);
        } finally {
          await database.end();
        }
      } catch (error) {
        throw (databaseUrl(config) === undefined ? undefined : explainDatabaseFault(error, config)) ?? error;
      }
    },
    { attach: true },
  );
}
