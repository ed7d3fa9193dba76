import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { Logger } from "../logger.ts";
import { databaseName, superuser } from "./cluster.ts";
import { findPlace } from "./place.ts";

/**
 * URL of the server that another process runs on a data directory, for tools; undefined when none runs. Only those who
 * may read the directory can connect.
 */
export async function runningEmbeddedUrl(dataDir: string, logger: Logger): Promise<string | undefined> {
  if (!existsSync(dataDir)) return undefined;
  const place = findPlace(dataDir, logger);
  const pidFile = join(place.data, "postmaster.pid");
  if (!existsSync(pidFile)) return undefined;
  // The fourth line is the port; it is missing for a moment while a server starts.
  const port = readFileSync(pidFile, "utf8").split("\n")[3]?.trim();
  if (!port) return undefined;
  const password = readFileSync(join(place.root, "password"), "utf8").trim();
  const url = `postgres://${superuser}:${password}@127.0.0.1:${port}/${databaseName}`;
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.end();
    return url;
  } catch {
    // The file is of a server that was killed.
    return undefined;
  }
}
