import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase } from "@turnwright/testing/database";
import { type System, startSystem } from "./system.ts";

/**
 * Starts the system in one process, with a database of its own on the run's PostgreSQL and a data directory of its own;
 * `stop` removes both. Suites that are not about the embedded PostgreSQL need not wait until one is made.
 */
export async function startAllInOne(env: Record<string, string> = {}): Promise<System & { databaseUrl: string }> {
  const database = await createTestDatabase({ services: ["auth", "conversation", "tool"] });
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-all-in-one-"));
  const remove = async () => {
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    // The roles of the template that the database is a copy of.
    const stores = { DATABASE_URL: database.url, DB_ROLE_PREFIX: "turnwright", TURNWRIGHT_DATA_DIR: dataDir };
    const system = await startSystem({ shape: "all-in-one", env: { ...stores, ...env } });
    return {
      ...system,
      databaseUrl: database.url,
      async stop() {
        const exitCode = await system.stop();
        await remove();
        return exitCode;
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
