import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startChildWatchdog } from "@turnwright/platform/embedded-postgres/child-watchdog";
import { freePort } from "@turnwright/platform/free-port";
import { testEnvironment } from "./stores.ts";
import { reportUntested } from "./untested.ts";

/** A PgBouncer in front of a test's PostgreSQL. */
export interface Pgbouncer {
  /** The URL of the database by way of PgBouncer. */
  readonly url: string;
  /** From 1.21 on, it keeps prepared statements in transaction mode. */
  readonly keepsPrepared: boolean;
  stop(): Promise<void>;
}

/** PgBouncer refuses to run as root. */
const nobody = 65_534;

function findProgram(): { program: string; keepsPrepared: boolean } | undefined {
  const { PGBOUNCER_PATH: given } = testEnvironment;
  // Debian installs it where the PATH of most users does not look.
  for (const program of given === undefined ? ["pgbouncer", "/usr/sbin/pgbouncer"] : [given]) {
    try {
      const [, major, minor] = /PgBouncer (\d+)\.(\d+)/.exec(execFileSync(program, ["--version"], { encoding: "utf8" })) ?? [];
      return { program, keepsPrepared: Number(major) > 1 || Number(minor) >= 21 };
    } catch {}
  }
  return undefined;
}

/**
 * Starts the PgBouncer of PGBOUNCER_PATH or the PATH on loopback, with all logins of the server and at most `backends`
 * connections for each. Without the program, it reports the skipped tests and returns undefined; with CI set, it
 * throws.
 */
export async function startPgbouncer(options: {
  /** The server, under a login that may read passwords. */
  url: string;
  mode: "session" | "transaction";
  backends?: number;
  untested: string;
}): Promise<Pgbouncer | undefined> {
  const found = findProgram();
  if (found === undefined) {
    reportUntested(options.untested, "PgBouncer");
    return undefined;
  }
  const { program, keepsPrepared } = found;
  const server = new URL(options.url);
  const dir = mkdtempSync(join(tmpdir(), "turnwright-pgbouncer-"));
  const port = await freePort();
  const [user, password] = [server.username, server.password].map(decodeURIComponent);
  writeFileSync(join(dir, "users"), `"${user}" "${password}"\n`);
  const settings = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: "scram-sha-256",
    auth_file: join(dir, "users"),
    auth_user: user,
    pool_mode: options.mode,
    default_pool_size: options.backends ?? 10,
    max_client_conn: 200,
    ...(keepsPrepared ? { max_prepared_statements: 200 } : {}),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  const target = `* = host=${server.hostname} port=${server.port || 5432}`;
  writeFileSync(join(dir, "pgbouncer.ini"), `[databases]\n${target}\n[pgbouncer]\n${lines.join("")}`);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) {
    chmodSync(dir, 0o755);
    for (const file of ["users", "pgbouncer.ini"]) chownSync(join(dir, file), nobody, nobody);
  }
  const child = spawn(program, ["--quiet", join(dir, "pgbouncer.ini")], {
    stdio: ["ignore", "ignore", "pipe"],
    ...(isRoot ? { uid: nobody, gid: nobody } : {}),
  });
  const told: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => told.push(text));
  startChildWatchdog(child, { signal: "TERM" });
  await accepting(child, port, told);
  server.hostname = "127.0.0.1";
  server.port = String(port);
  return {
    url: server.href,
    keepsPrepared,
    async stop() {
      // Without waiting for its clients.
      child.kill("SIGQUIT");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function accepting(child: ChildProcess, port: number, told: readonly string[]): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until && child.exitCode === null; await delay(20)) {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await Promise.race([once(socket, "connect").then(() => true), once(socket, "close").then(() => false)]).catch(
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
  }
  throw new Error(`PgBouncer did not start:\n${told.join("")}`);
}
