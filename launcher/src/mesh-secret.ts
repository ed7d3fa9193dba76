import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dataDirectoryFault } from "@turnwright/platform/embedded-postgres/data-directory";

/**
 * The secret shared by the parts of one system, for starters that run them all: MESH_SECRET when set. Otherwise it is
 * created once and kept in the data directory (mode 0600), so that approvals granted before a restart stay valid.
 * Throws ConfigError when that directory cannot be used.
 */
export function meshSecret(env: Readonly<Record<string, string | undefined>>, dataDir: string): string {
  if (env.MESH_SECRET) return env.MESH_SECRET;
  try {
    return keptSecret(dataDir);
  } catch (error) {
    throw dataDirectoryFault(error, dataDir);
  }
}

function keptSecret(dataDir: string): string {
  const path = join(dataDir, "mesh.secret");
  mkdirSync(dataDir, { recursive: true });
  try {
    writeFileSync(path, randomBytes(48).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return readFileSync(path, "utf8");
}
