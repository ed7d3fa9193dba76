import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "../logger.ts";
import { type ServerUser, systemDir } from "./binaries.ts";

/** The directories of one embedded server, and the user that runs it. */
export interface Place {
  /** Holds the cluster, its password and the owner file; written by this process only. */
  readonly root: string;
  /** The cluster; owned by the server's user. */
  readonly data: string;
  /** Set when this process is root, because PostgreSQL refuses to run as root. */
  readonly user: ServerUser | undefined;
}

/** File that names the cluster's directory when it is not in the data directory itself. */
const locationFile = "postgres.location";

/**
 * Finds the server's place for a data directory: its subdirectory `postgres`. When this process is root, the server
 * runs as another user, who may not be able to reach that directory (a project below /root). The cluster then goes into
 * /var/lib/turnwright and the data directory records its path, so that deleting the data directory still means a fresh
 * start. Throws when existing data is out of reach; never starts with an empty database instead.
 */
export function findPlace(dataDir: string, logger: Logger): Place {
  mkdirSync(dataDir, { recursive: true, mode: 0o711 });
  const base = realpathSync(dataDir);
  const location = join(base, locationFile);
  const inside = join(base, "postgres");
  if (process.getuid?.() !== 0) {
    mkdirSync(inside, { recursive: true, mode: 0o700 });
    return { root: inside, data: join(inside, "data"), user: undefined };
  }
  if (existsSync(location)) return namedPlace(location);
  const user = ownerOf(join(inside, "data")) ?? unprivilegedUser();
  mkdirSync(inside, { recursive: true, mode: 0o711 });
  if (canReach(inside, user)) return { root: inside, data: join(inside, "data"), user };
  if (existsSync(join(inside, "data"))) {
    throw new Error(
      `${inside}: user ${user.uid}, who runs PostgreSQL, cannot traverse the directories above it (chmod a+x them)`,
    );
  }
  const root = join(
    systemDir,
    `${createHash("sha256").update(base).digest("hex").slice(0, 12)}-${randomBytes(4).toString("hex")}`,
  );
  mkdirSync(root, { recursive: true, mode: 0o711 });
  if (!canReach(root, user)) {
    throw new Error(
      `user ${user.uid}, who runs PostgreSQL, can reach neither ${inside} nor ${root}; set TURNWRIGHT_DATA_DIR or DATABASE_URL`,
    );
  }
  writeFileSync(location, `${root}\n`, { mode: 0o600, flag: "wx" });
  logger.warn(
    { dataDir: base, directory: root, uid: user.uid },
    "the database lies outside of the data directory, which its user cannot reach",
  );
  return { root, data: join(root, "data"), user };
}

function namedPlace(location: string): Place {
  const root = readFileSync(location, "utf8").trim();
  if (!existsSync(root)) {
    throw new Error(`${root}: the database directory is missing; restore it, or delete ${location} to start with an empty one`);
  }
  const data = join(root, "data");
  return { root, data, user: ownerOf(data) ?? unprivilegedUser() };
}

/** A cluster keeps the user for which it was created. */
function ownerOf(data: string): ServerUser | undefined {
  const found = statSync(data, { throwIfNoEntry: false });
  return found === undefined || found.uid === 0 ? undefined : { uid: found.uid, gid: found.gid };
}

function unprivilegedUser(): ServerUser {
  const users = new Map<string, ServerUser>();
  const passwd = existsSync("/etc/passwd") ? readFileSync("/etc/passwd", "utf8") : "";
  for (const line of passwd.split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name !== undefined && Number(uid) > 0 && Number(gid) > 0) users.set(name, { uid: Number(uid), gid: Number(gid) });
  }
  return users.get("turnwright") ?? users.get("postgres") ?? users.get("nobody") ?? { uid: 65_534, gid: 65_534 };
}

function canReach(directory: string, user: ServerUser): boolean {
  const probe = spawnSync("/bin/sh", ["-c", 'cd -P -- "$1"', "sh", directory], { ...user, cwd: "/", stdio: "ignore" });
  if (probe.error)
    throw new Error(`PostgreSQL cannot run as root, and this machine lets no process run as user ${user.uid}`, {
      cause: probe.error,
    });
  return probe.status === 0;
}
