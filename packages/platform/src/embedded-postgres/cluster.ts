import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chownSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../logger.ts";
import type { Binaries } from "./binaries.ts";
import type { Place } from "./place.ts";

/** Name of the database in the embedded server. */
export const databaseName = "turnwright";

/** The server's administrator. */
export const superuser = "postgres";

/** The server inherits nothing of this process's environment: PG* variables and locales would change its behaviour. */
export const environment = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C" };

/**
 * Creates the cluster in a temporary directory and moves it into place when complete, so that an interrupted start
 * leaves no partial cluster.
 */
export async function makeCluster(options: {
  binaries: Binaries;
  place: Place;
  /** The place's lock, which the processes of `initdb` inherit. */
  lock: number;
  logger: Logger;
  signal?: AbortSignal;
}): Promise<void> {
  const { binaries, place, lock, logger, signal } = options;
  for (const name of readdirSync(place.root)) {
    if (name.startsWith("new-")) rmSync(join(place.root, name), { recursive: true, force: true });
  }
  const fresh = join(place.root, `new-${randomBytes(4).toString("hex")}`);
  const password = randomBytes(24).toString("base64url");
  const passwordFile = `${fresh}-password`;
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600, flag: "wx" });
  if (place.user !== undefined) {
    for (const path of [fresh, passwordFile]) chownSync(path, place.user.uid, place.user.gid);
  }
  const child = spawn(
    binaries.initdb,
    [
      `--pgdata=${fresh}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      // Built into PostgreSQL: sorts and folds the same on every machine, regardless of its locales.
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      "--locale=C",
      "--no-instructions",
    ],
    { ...place.user, cwd: "/", env: environment, stdio: ["ignore", "ignore", "pipe", lock], signal },
  );
  let complaints = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`PostgreSQL's cluster could not be created: ${complaints.trim()}`);
  writeFileSync(join(place.root, "password"), `${password}\n`, { mode: 0o600 });
  rmSync(passwordFile);
  renameSync(fresh, place.data);
  logger.info({ directory: place.data }, "embedded PostgreSQL initialised");
}
