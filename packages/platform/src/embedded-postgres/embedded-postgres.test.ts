import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { systemDir } from "./binaries.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";

const isRoot = process.getuid?.() === 0;
const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];
let dataDir = "";

beforeEach(async () => {
  const parent = await mkdtemp(join(tmpdir(), "turnwright-embedded-"));
  // Retries while the server of a killed process is still shutting down.
  cleanups.push(() => rm(parent, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }));
  // Traversable for the unprivileged user that runs the server when the tests run as root.
  await chmod(parent, 0o711);
  dataDir = join(parent, "data");
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A cluster after its first start, to copy: a copy takes a tenth of the time of a first start. */
let cluster = "";

beforeAll(async () => {
  const parent = await mkdtemp(join(tmpdir(), "turnwright-cluster-"));
  await chmod(parent, 0o711);
  cluster = join(parent, "data");
  await (await startEmbeddedPostgres({ dataDir: cluster, logger })).stop();
}, 60_000);
afterAll(() => rm(dirname(cluster), { recursive: true, force: true }));

/** Puts a cluster that has been started before into the test's directory. */
function withCluster(): void {
  const { status, stderr } = spawnSync("cp", ["-a", cluster, dataDir], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

async function start(directory = dataDir, settings: Record<string, string> = {}) {
  const postgres = await startEmbeddedPostgres({ dataDir: directory, logger, settings });
  cleanups.push(() => postgres.stop());
  return postgres;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** A process that starts the server and holds it until it is killed, or told to exit by a line on its input. */
async function startHolder(): Promise<{ child: ChildProcess; url: string; pid: number }> {
  const module = JSON.stringify(new URL("./embedded-postgres.ts", import.meta.url).href);
  const logging = JSON.stringify(new URL("../logger.ts", import.meta.url).href);
  const code = `
    const { startEmbeddedPostgres } = await import(${module});
    const { createLogger } = await import(${logging});
    const logger = createLogger({ service: "holder", level: "silent" });
    const { url, pid } = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, logger });
    console.log(JSON.stringify({ url, pid }));
    process.stdin.once("data", () => process.stdin.destroy());`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], { stdio: ["pipe", "pipe", "inherit"] });
  cleanups.push(() => child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { child, ...(JSON.parse(line) as { url: string; pid: number }) };
}

/** `closed` resolves when the server closes a connection: its shutdown has begun. */
async function watchShutdown(url: string): Promise<{ closed: Promise<void> }> {
  const client = new pg.Client({ connectionString: url });
  const closed = new Promise<void>((resolve) => {
    client.on("error", () => resolve());
    client.on("end", () => resolve());
  });
  await client.connect();
  return { closed };
}

describe("the embedded PostgreSQL", { timeout: 60_000 }, () => {
  test("keeps its data and its settings between starts", async () => {
    const first = await startEmbeddedPostgres({ dataDir, logger });
    await query(first.url, "create table kept as select 'ä' as value");
    await first.stop();
    await first.stop();
    const second = await start();
    expect(await query(second.url, "select value from kept")).toEqual([{ value: "ä" }]);
    expect(
      await query(
        second.url,
        `select current_database() as name, current_setting('server_encoding') as encoding, current_setting('fsync') as fsync,
          current_setting('synchronous_commit') as synchronous, upper('ä') as upper, current_setting('server_version_num')::int / 10000 as version`,
      ),
    ).toEqual([{ name: "turnwright", encoding: "UTF8", fsync: "on", synchronous: "on", upper: "Ä", version: 17 }]);
  });

  test("lets nobody in without the password, which only its owner can read", async () => {
    withCluster();
    const { url } = await start();
    const wrong = new URL(url);
    wrong.password = "wrong";
    await expect(query(wrong.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
    expect((await stat(join(dataDir, "postgres", "password"))).mode & 0o777).toBe(0o600);
    expect(new URL(url).hostname).toBe("127.0.0.1");
  });

  test("never runs as root", async () => {
    withCluster();
    const { pid } = await start();
    const ps = spawnSync("ps", ["-o", "uid=", "-p", String(pid)], { encoding: "utf8" });
    const uid = Number(ps.stdout.trim());
    expect(uid).toBeGreaterThan(0);
    expect((await stat(join(dataDir, "postgres", "data"))).uid).toBe(uid);
  });

  test("refuses a directory that is in use, in this process and in another", async () => {
    withCluster();
    const held = await start();
    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(`in use by process ${process.pid}`);
    await held.stop();
    const holder = await startHolder();
    await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow(`in use by process ${holder.child.pid}`);
  });

  test("takes over a mark whose process id now belongs to another process", async () => {
    withCluster();
    await writeFile(join(dataDir, "postgres", "owner.json"), JSON.stringify({ pid: process.ppid, started: "long ago" }));
    await expect(start()).resolves.toBeDefined();
  });

  test("restarts a killed server on the same port with all committed data, and logs that it ended", async () => {
    withCluster();
    const events = new EventEmitter();
    const destination = {
      write(line: string) {
        events.emit((JSON.parse(line) as { msg: string }).msg);
      },
    };
    const observed = createLogger({ service: "test", level: "info", destination });
    const postgres = await startEmbeddedPostgres({ dataDir, logger: observed });
    cleanups.push(() => postgres.stop());
    await query(postgres.url, "create table kept as select 1 as value");
    for (const value of [2, 3]) {
      const { pid } = postgres;
      const ended = once(events, "the embedded PostgreSQL ended unexpectedly");
      const back = once(events, "the embedded PostgreSQL runs again");
      process.kill(pid, "SIGKILL");
      await Promise.all([ended, back]);
      expect(postgres.pid).not.toBe(pid);
      await query(postgres.url, `insert into kept values (${value})`);
    }
    expect(await query(postgres.url, "select value from kept order by value")).toEqual([1, 2, 3].map((value) => ({ value })));
  });

  test("stops while a killed server is being restarted, and releases the directory", async () => {
    withCluster();
    const killed = await startEmbeddedPostgres({ dataDir, logger });
    const { pid } = killed;
    process.kill(pid, "SIGKILL");
    await vi.waitUntil(() => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
    await killed.stop();
    await expect(start()).resolves.toBeDefined();
  });

  test("ends with a process that exits", async () => {
    withCluster();
    const holder = await startHolder();
    const shutdown = await watchShutdown(holder.url);
    holder.child.stdin?.write("\n");
    const [code] = await once(holder.child, "exit");
    expect(code).toBe(0);
    await shutdown.closed;
  });

  test("ends with a process that is killed, and the next one finds all committed data", async () => {
    withCluster();
    const holder = await startHolder();
    await query(holder.url, "create table kept as select 1 as value");
    const shutdown = await watchShutdown(holder.url);
    holder.child.kill("SIGKILL");
    await once(holder.child, "exit");
    const next = await start();
    await shutdown.closed;
    expect(await query(next.url, "select value from kept")).toEqual([{ value: 1 }]);
  });

  test("ends a server that an earlier process left running, before it starts its own", async () => {
    withCluster();
    const holder = await startHolder();
    await query(holder.url, "create table kept as select 1 as value");
    const listed = spawnSync("ps", ["-e", "-o", "pid=,ppid="], { encoding: "utf8" }).stdout.trim().split("\n");
    const children = listed
      .map((line) => line.trim().split(/\s+/).map(Number))
      .filter(([, parent]) => parent === holder.child.pid);
    const watchdogs = children.map(([pid]) => pid ?? 0).filter((pid) => pid !== holder.pid);
    expect(watchdogs).toHaveLength(1);
    for (const pid of watchdogs) process.kill(pid, "SIGKILL");
    holder.child.kill("SIGKILL");
    await once(holder.child, "exit");
    expect(() => process.kill(holder.pid, 0)).not.toThrow();
    const next = await start();
    expect(next.pid).not.toBe(holder.pid);
    expect(await query(next.url, "select value from kept")).toEqual([{ value: 1 }]);
  });

  test("clears the pid file of a server whose process id now belongs to another process", async () => {
    withCluster();
    const first = await startEmbeddedPostgres({ dataDir, logger });
    await first.stop();
    const bystander = spawn("sleep", ["600"]);
    cleanups.push(() => bystander.kill("SIGKILL"));
    await writeFile(join(dataDir, "postgres", "data", "postmaster.pid"), `${bystander.pid}\n`);
    await expect(start()).resolves.toBeDefined();
    expect(bystander.signalCode).toBeNull();
  });

  test("recreates its cluster when the first start was interrupted", async () => {
    const leftover = join(dataDir, "postgres", "new-cafe");
    await mkdir(leftover, { recursive: true });
    await chmod(dataDir, 0o711);
    await start();
    await expect(stat(leftover)).rejects.toThrow("ENOENT");
  });

  test("reports what the server says when it cannot start", async () => {
    await expect(start(dataDir, { shared_buffers: "nonsense" })).rejects.toThrow("shared_buffers");
    await expect(start()).resolves.toBeDefined();
  });

  test("works below a directory that its user cannot traverse, and keeps the data there", async () => {
    await chmod(dirname(dataDir), 0o700);
    const first = await startEmbeddedPostgres({ dataDir, logger });
    const location = join(dataDir, "postgres.location");
    if (isRoot) {
      const elsewhere = (await readFile(location, "utf8")).trim();
      cleanups.push(() => removeSystemDir(elsewhere));
      expect(dirname(elsewhere)).toBe(systemDir);
      expect(first.directory).toBe(elsewhere);
    } else {
      await expect(stat(location)).rejects.toThrow("ENOENT");
      expect(first.directory).toBe(join(dataDir, "postgres"));
    }
    await query(first.url, "create table kept as select 1 as value");
    await first.stop();
    const second = await start();
    expect(await query(second.url, "select value from kept")).toEqual([{ value: 1 }]);
  });

  test("never starts empty when data is missing or out of reach", async () => {
    withCluster();
    const first = await startEmbeddedPostgres({ dataDir, logger });
    await first.stop();
    await chmod(dirname(dataDir), 0o700);
    if (isRoot) {
      await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow("chmod a+x");
      await writeFile(join(dataDir, "postgres.location"), `${systemDir}/gone\n`);
      await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow("is missing");
    } else {
      await rm(join(dataDir, "postgres", "password"));
      await expect(startEmbeddedPostgres({ dataDir, logger })).rejects.toThrow("password");
    }
  });
});

async function removeSystemDir(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  // Kept while others use it.
  await rmdir(systemDir).catch(() => {});
}
