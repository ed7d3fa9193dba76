import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type MigratedService, migrate, migratedServices, migrationsDir } from "@turnwright/platform/postgres/migrations";
import pg from "pg";
import { requestStore, testEnvironment } from "./stores.ts";

/** The database of one test suite. */
export interface TestDatabase {
  readonly url: string;
  /** Drops the database, and the connections that are not closed within a second. */
  drop(): Promise<void>;
}

/**
 * Creates a migrated database on a real PostgreSQL (TEST_DATABASE_URL, else one embedded server for the whole run). It
 * is cloned in milliseconds from a template, which is migrated once per set of services and state of their files.
 */
export async function createTestDatabase(options: {
  services: readonly MigratedService[];
  /** Contains one folder of migrations per service; the repository's own unless given. */
  dir?: string;
}): Promise<TestDatabase> {
  const server = testEnvironment.TEST_DATABASE_URL ?? (await requestStore("postgres"));
  if (server === undefined) throw new Error("there is no PostgreSQL for tests");
  const dir = options.dir ?? migrationsDir;
  const services = migratedServices.filter((service) => options.services.includes(service));
  const name = `turnwright_test_${randomUUID().replaceAll("-", "")}`;
  await withClient(server, async (client) => {
    const template = await ensureTemplate(client, { server, services, dir });
    await client.query(`create database ${name} template ${template}`);
  });
  return {
    url: withDatabase(server, name),
    drop: () =>
      withClient(server, async (client) => {
        await unused(client, name);
        await client.query(`drop database if exists ${name} with (force)`);
      }),
  };
}

/** A pool on a test's database whose connections may be ended from outside without ending the test's process. */
export function openTestPool(url: string, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max });
  pool.on("error", ignore);
  // The pool stops listening to a connection that it closes.
  pool.on("connect", (client) => client.on("error", ignore));
  return pool;
}

function ignore(): void {}

const unusedWithinMs = 1_000;

/** Waits up to a second until nobody is connected to a database: pools resolve before their connections close. */
async function unused(client: pg.Client, name: string): Promise<void> {
  const until = Date.now() + unusedWithinMs;
  while (Date.now() < until) {
    const { rowCount } = await client.query("select from pg_stat_activity where datname = $1 limit 1", [name]);
    if (rowCount === 0) return;
    await delay(20);
  }
}

async function ensureTemplate(
  client: pg.Client,
  source: { server: string; services: readonly MigratedService[]; dir: string },
): Promise<string> {
  const key = await hashFiles(source.services, source.dir);
  const name = `turnwright_template_${key}`;
  // Advisory locks are per database: this one, of the server's URL, is shared by all suites of a run.
  await client.query("select pg_advisory_lock(hashtext($1))", [name]);
  try {
    const { rows } = await client.query<{ datistemplate: boolean }>("select datistemplate from pg_database where datname = $1", [
      name,
    ]);
    if (rows[0]?.datistemplate === true) return name;
    // Without the mark, an earlier attempt was interrupted.
    await client.query(`drop database if exists ${name} with (force)`);
    await client.query(`create database ${name}`);
    for (const service of source.services) {
      const url = withDatabase(source.server, name);
      await migrate({ url, service, direction: "up", dir: source.dir, rolePrefix: "turnwright", sharesRoles: true });
    }
    await client.query(`alter database ${name} with is_template true allow_connections false`);
    return name;
  } finally {
    await client.query("select pg_advisory_unlock(hashtext($1))", [name]);
  }
}

async function hashFiles(services: readonly MigratedService[], dir: string): Promise<string> {
  const hash = createHash("sha256");
  for (const service of services) {
    for (const file of (await readdir(join(dir, service))).sort()) {
      hash
        .update(`${service}/${file}\0`)
        .update(await readFile(join(dir, service, file)))
        .update("\0");
    }
  }
  return hash.digest("hex").slice(0, 16);
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
