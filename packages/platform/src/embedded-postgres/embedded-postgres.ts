import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { retrying } from "../async/retrying.ts";
import { freePort } from "../free-port.ts";
import type { Logger } from "../logger.ts";
import { type Binaries, findBinaries } from "./binaries.ts";
import { setHold, startChildWatchdog } from "./child-watchdog.ts";
import { type ClaimTimes, claim } from "./claim.ts";
import { databaseName, environment, makeCluster, superuser } from "./cluster.ts";
import { dataDirectoryFault } from "./data-directory.ts";
import { endOrphan } from "./orphan.ts";
import { findPlace, type Place } from "./place.ts";

/** A PostgreSQL server with the lifetime of this process. */
export interface EmbeddedPostgres {
  /** `postgres://…` of the database `turnwright`; contains the password. */
  readonly url: string;
  /** Directory with the cluster; as root it may lie outside of the data directory (`findPlace`). */
  readonly directory: string;
  /** Process id of the server; changes when a killed server is restarted. */
  readonly pid: number;
  /** Fast shutdown; resolves when the server has ended and all data is on disk. */
  stop(): Promise<void>;
}

/** Options of an embedded server. */
export interface EmbeddedPostgresOptions {
  dataDir: string;
  logger: Logger;
  /** Server settings on top of the defaults, such as `{ fsync: "off" }` for disposable data. */
  settings?: Readonly<Record<string, string>>;
  /** Ends a start that is under way, with whatever it has started. */
  signal?: AbortSignal;
  /**
   * Called when another machine has taken the directory over, after the server was killed; ends this process unless
   * given.
   */
  onLost?: () => void;
  /** For tests; see `ClaimTimes`. */
  claimTimes?: Partial<ClaimTimes>;
}

/**
 * Starts the PostgreSQL server of a data directory on a free port of 127.0.0.1; creates its cluster first if there is
 * none. A server that ends by itself is restarted on the same port. The server ends with this process, in whatever way
 * that ends; committed data is kept. Throws ConfigError when another process uses the directory, in this container or
 * another, or when the directory cannot be used, and the signal's reason when that fires before the server is ready.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  try {
    return await startIn(findPlace(options.dataDir, options.logger), options);
  } catch (error) {
    throw dataDirectoryFault(error, options.dataDir);
  }
}

async function startIn(place: Place, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { logger, signal, onLost = () => process.exit(1) } = options;
  let supervised: { abandon(): void } | undefined;
  const { lock, release } = await claim(place, {
    logger,
    signal,
    times: options.claimTimes,
    onLost() {
      logger.fatal({ directory: place.root }, "another process has taken the data directory over; the database is ended");
      supervised?.abandon();
      onLost();
    },
  });
  try {
    const binaries = findBinaries(place.user, logger);
    if (!existsSync(place.data)) await makeCluster({ binaries, place, lock, logger, signal });
    const password = readFileSync(join(place.root, "password"), "utf8").trim();
    const start = { binaries, place, lock, settings: options.settings ?? {}, logger };
    const { server, port } = await startServer({ ...start, signal });
    const url = `postgres://${superuser}:${password}@127.0.0.1:${port}`;
    const kept = superviseServer(server, { ...start, port, release });
    supervised = kept;
    try {
      await ensureDatabase(`${url}/postgres`);
    } catch (error) {
      await kept.stop();
      throw error;
    }
    return {
      url: `${url}/${databaseName}`,
      directory: place.root,
      get pid() {
        return kept.server.pid ?? 0;
      },
      stop: kept.stop,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Options of a server start. */
interface Start {
  readonly binaries: Binaries;
  readonly place: Place;
  /** The locked file that the server inherits: the place stays locked while any of its processes lives. */
  readonly lock: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly logger: Logger;
  /** A free port unless given. */
  readonly port?: number;
  readonly signal?: AbortSignal;
}

/** The server ended before it accepted connections. */
class FailedStart extends Error {
  /**
   * Whether the cause is transient: another process took the port in between, or a killed server is still shutting
   * down.
   */
  readonly mayPass: boolean;

  constructor(output: string) {
    super(`the embedded PostgreSQL did not start: ${output}`);
    this.mayPass = /Address already in use|pre-existing shared memory block/.test(output);
  }
}

/** Starts the server; retries for 15 s while the cause of a failure is transient. */
function startServer(start: Start): Promise<{ server: ChildProcess; port: number }> {
  return retrying(() => tryStart(start), {
    mayPass: (error) => error instanceof FailedStart && error.mayPass,
    patienceMs: 15_000,
    firstMs: 100,
    longestMs: 100,
    signal: start.signal,
  });
}

async function tryStart(start: Start): Promise<{ server: ChildProcess; port: number }> {
  start.signal?.throwIfAborted();
  const port = start.port ?? (await freePort());
  const server = launch(start, port);
  const lines: string[] = [];
  const interrupt = () => server.kill("SIGINT");
  start.signal?.addEventListener("abort", interrupt);
  const ready = await new Promise<boolean>((resolve, reject) => {
    server.once("error", reject);
    server.once("close", () => resolve(false));
    if (server.stderr === null) return;
    createInterface({ input: server.stderr }).on("line", (line) => {
      start.logger.debug({ line }, "embedded PostgreSQL");
      if (lines.length < 50) lines.push(line);
      if (line.includes("database system is ready to accept connections")) resolve(true);
    });
  });
  start.signal?.removeEventListener("abort", interrupt);
  if (!ready) start.signal?.throwIfAborted();
  if (!ready) throw new FailedStart(lines.join("\n"));
  return { server, port };
}

function launch(start: Start, port: number): ChildProcess {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    max_connections: "200",
    timezone: "UTC",
    log_timezone: "UTC",
    lc_messages: "C",
    logging_collector: "off",
    // A failing statement is reported by its caller, and its text may hold data that must not be logged.
    log_min_messages: "log",
    log_checkpoints: "off",
    ...start.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return spawn(start.binaries.postgres, ["-D", start.place.data, ...args], {
    ...start.place.user,
    cwd: "/",
    env: environment,
    stdio: ["ignore", "ignore", "pipe", start.lock],
    // A process group of its own: Ctrl-C in the terminal must reach the server through this process, after the work in
    // flight is done.
    detached: true,
  });
}

/** Pause between attempts to restart a server that ended, in milliseconds. */
const revivalPauseMs = 1_000;

/** Ends the server with this process and restarts it when it ends by itself. */
function superviseServer(
  first: ChildProcess,
  start: Start & { port: number; release: () => void },
): { readonly server: ChildProcess; stop(): Promise<void>; abandon(): void } {
  const { place, logger, release } = start;
  const over = Promise.withResolvers<void>();
  let server = first;
  let isThere = true;
  let stopping: Promise<void> | undefined;

  const close = () => {
    release();
    over.resolve();
  };
  const keep = (started: ChildProcess) => {
    server = started;
    isThere = true;
    startChildWatchdog(started, { signal: "INT", user: place.user });
    started.once("close", (code, signal) => {
      isThere = false;
      if (stopping !== undefined) return close();
      logger.error({ code, signal }, "the embedded PostgreSQL ended unexpectedly");
      void revive();
    });
  };
  const revive = async (): Promise<void> => {
    while (stopping === undefined) {
      try {
        await endOrphan(place, logger);
        keep((await startServer(start)).server);
        logger.info("the embedded PostgreSQL runs again");
        if (stopping !== undefined) server.kill("SIGINT");
        return;
      } catch (error) {
        logger.error({ err: error }, "the embedded PostgreSQL could not be restarted");
        await delay(revivalPauseMs, undefined, { ref: false });
      }
    }
    close();
  };
  const end = async () => {
    if (isThere) {
      setHold(server, true);
      server.kill("SIGINT");
    }
    const force = setTimeout(() => server.kill("SIGQUIT"), 15_000);
    await over.promise;
    clearTimeout(force);
  };
  keep(first);
  return {
    get server() {
      return server;
    },
    stop() {
      stopping ??= end();
      return stopping;
    },
    /** Kills the server without a last write to disk. */
    abandon() {
      stopping ??= over.promise;
      if (isThere) server.kill("SIGQUIT");
    },
  };
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [databaseName]);
    if (rowCount === 0) await client.query(`create database ${databaseName}`);
  } finally {
    await client.end();
  }
}
