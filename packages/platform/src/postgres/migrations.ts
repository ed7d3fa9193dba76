import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { schemaLocks } from "../../../../migrations/schemas.ts";
import { ConfigError } from "../config/env.ts";
import { ErrorReason, fail, reasonOf } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { runMigrations } from "./migration-steps.ts";
import { answeredWithin, databaseError } from "./pool.ts";
import type { OnConnected } from "./pooler-check.ts";
import { ensureRoles, MissingRightError, moveRoles, planRoles } from "./role-setup.ts";

/** Name of a migrated schema. */
export type MigratedService = keyof typeof schemaLocks;

/** The schemas that services own, in the order in which they migrate up. */
export const migratedServices = Object.keys(schemaLocks) as readonly MigratedService[];

/** The folder with one folder of migrations per service. */
export const migrationsDir = fileURLToPath(new URL("../../../../migrations", import.meta.url));

const fileName = /^(\d{6}_[a-z0-9_]+)\.(up|down)\.sql$/;

/** The options of a migration. */
export interface Migration {
  url: string;
  service: MigratedService;
  direction: "up" | "down";
  count?: number;
  /** Contains one folder per service; the repository's own unless given. */
  dir?: string;
  /** Prefix of the role names; unless given, that of the schema's present roles, or one made of the database's name. */
  rolePrefix?: string;
  /** Whether other databases may use the same roles; their services can then read this one. */
  sharesRoles?: boolean;
  logger?: Logger;
  /** Called with the connection once the database has answered. */
  onConnected?: OnConnected;
}

/**
 * Migrates one service's schema up (all pending migrations, or `count`) or down (one, or `count`). Each migration is
 * one transaction, so a failed one leaves nothing behind; a process that starts at the same time waits and finds the
 * work done. Creates the schema if it is absent; the schema keeps its own table of applied migrations. Returns the
 * names that ran, in order. Throws DATABASE_UNAVAILABLE and MissingRightError.
 */
export async function migrate(options: Migration): Promise<string[]> {
  return (await migrateSchema(options)).names;
}

/** As `migrate`; also returns the prefix of the schema's roles, which change when they have another prefix. */
export async function migrateSchema(options: Migration): Promise<{ names: string[]; rolePrefix: string }> {
  const { service, direction, logger } = options;
  const dir = join(options.dir ?? migrationsDir, service);
  const known = await checkFiles(dir);
  const client = await connect(options.url, service);
  let current: string | undefined;
  const log = (detail: string) => {
    // The runner names the current migration only here.
    current = /### MIGRATION (\S+) /.exec(detail)?.[1] ?? current;
    logger?.debug({ detail }, "migration runner");
  };
  try {
    const applied = direction === "up" ? await appliedMigrations(client, service) : [];
    await options.onConnected?.(client, options.url);
    if (applied.some((name) => !known.includes(name))) throw newerSchema(service, applied, known);
    const isDone = direction === "up" && applied.length === known.length && applied.every((name, at) => name === known[at]);
    const plan = await planRoles({ client, schema: service, configured: options.rolePrefix, logger });
    const { prefix } = plan;
    if (isDone && (plan.current ?? prefix) === prefix) return { names: [], rolePrefix: prefix };
    if (plan.current !== prefix && migratesRoles(known)) {
      await ensureRoles(client, service, prefix, options.sharesRoles === true);
      if (plan.current !== undefined) {
        await moveRoles(client, service, { current: plan.current, prefix });
        logger?.warn({ schema: service, from: plan.current, to: prefix }, "the schema has roles of its own now");
      }
    }
    const count = options.count ?? (direction === "up" ? known.length : 1);
    const names = await runMigrations({ client, schema: service, direction, count, dir, rolePrefix: prefix, log });
    if (names.length > 0) logger?.info({ schema: service, direction, migrations: names }, "schema migrated");
    return { names, rolePrefix: prefix };
  } catch (cause) {
    if (
      cause instanceof MissingRightError ||
      cause instanceof ConfigError ||
      reasonOf(cause) === ErrorReason.DATABASE_UNAVAILABLE
    )
      throw cause;
    if (cause instanceof Error && "code" in cause && cause.code === "42501") {
      const message = `migrations of ${service} are pending, and this login may not run them: ${cause.message}`;
      throw new MissingRightError(`${message}; run npm run migrate:up with an administrator's DATABASE_URL`, { cause });
    }
    if (current === undefined || !(cause instanceof Error)) throw databaseError(cause);
    throw new Error(`migration ${service}/${current} failed: ${cause.message}`, { cause });
  } finally {
    await client.end();
  }
}

/**
 * The prefix of the roles of a schema that this release has migrated, for tools, which migrate nothing. Throws
 * ConfigError when the schema is missing or of another release, and DATABASE_UNAVAILABLE.
 */
export async function migratedRolePrefix(options: { url: string; service: MigratedService }): Promise<string> {
  const { url, service } = options;
  const known = await knownMigrations(service);
  const client = await connect(url, service);
  try {
    const applied = await appliedMigrations(client, service);
    if (applied.length === 0) {
      throw new ConfigError([
        `The database has no schema ${service}: start Turnwright on it first, or name its database by DATABASE_URL, ` +
          "DB_HOST or TURNWRIGHT_DATA_DIR",
      ]);
    }
    if (applied.some((name) => !known.includes(name))) throw newerSchema(service, applied, known);
    const pending = known.filter((name) => !applied.includes(name));
    if (pending.length > 0) {
      throw new ConfigError([
        `The schema ${service} of this database lacks ${pending.join(", ")}: start this release on it first, or use ` +
          "the command of the release that runs",
      ]);
    }
    const { current, prefix } = await planRoles({ client, schema: service, configured: undefined, logger: undefined });
    return current ?? prefix;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Throws DATABASE_UNAVAILABLE. */
async function connect(url: string, service: MigratedService): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    application_name: `turnwright-migrate-${service}`,
    connectionTimeoutMillis: 5_000,
    // A migration may take any time; only a lost peer must be noticed.
    keepAlive: true,
  });
  // Without this listener, a connection that dies between two statements would end the process.
  client.on("error", () => {});
  await client.connect().catch((cause: unknown) => {
    throw fail(ErrorReason.DATABASE_UNAVAILABLE, "the database does not answer", { cause });
  });
  return client;
}

/** Whether the migrations give rights to roles. */
function migratesRoles(known: readonly string[]): boolean {
  return known.some((name) => name.endsWith("_row_security"));
}

/** Timeout of the query for applied migrations, in milliseconds. */
const answerMs = 5_000;

/** The applied migrations in order; empty before the first. Most starts need only this one statement. */
async function appliedMigrations(client: pg.Client, service: MigratedService): Promise<string[]> {
  try {
    const query = answeredWithin(answerMs, { text: `select name from ${service}.migrations order by run_on, id` });
    return (await client.query<{ name: string }>(query)).rows.map(({ name }) => name);
  } catch (cause) {
    const error = databaseError(cause);
    if (reasonOf(error) !== ErrorReason.DATABASE_UNAVAILABLE) return [];
    // A connection that does not answer would not close in order either.
    client.connection.stream.destroy();
    throw error;
  }
}

/** This release would misread what a later one has written. */
function newerSchema(service: MigratedService, applied: readonly string[], known: readonly string[]): ConfigError {
  const unknown = applied.filter((name) => !known.includes(name));
  return new ConfigError([
    `The schema ${service} of this database is of another release: it has ${unknown.join(", ")}, and this release ` +
      `knows nothing after ${known.at(-1) ?? "an empty schema"}. Start the release that made it, or restore a backup ` +
      "of this release (docs/upgrading.md).",
  ]);
}

/** The names of a service's migrations in this release, in order. */
export function knownMigrations(service: MigratedService, dir = migrationsDir): Promise<string[]> {
  return checkFiles(join(dir, service));
}

/** The names of the migrations in a folder, in order. Throws on a file that the runner would skip or pair wrongly. */
async function checkFiles(dir: string): Promise<string[]> {
  const directions = new Map<string, string[]>();
  for (const file of await listFiles(dir)) {
    const match = fileName.exec(file);
    if (match?.[1] === undefined || match[2] === undefined) {
      throw new Error(`${join(dir, file)}: expected a name like 000001_create_users.up.sql`);
    }
    directions.set(match[1], [...(directions.get(match[1]) ?? []), match[2]]);
  }
  for (const [name, found] of directions) {
    if (found.length !== 2) throw new Error(`${join(dir, name)}: needs both .up.sql and .down.sql`);
  }
  const numbers = [...directions.keys()].map((name) => name.slice(0, 6));
  const twice = numbers.find((number, index) => numbers.indexOf(number) !== index);
  if (twice !== undefined) throw new Error(`${dir}: two migrations have the number ${twice}`);
  return [...directions.keys()].sort();
}

async function listFiles(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((file) => !file.startsWith(".")).sort();
  } catch (cause) {
    throw new Error(`${dir}: the folder of migrations cannot be read`, { cause });
  }
}

/** Creates the empty pair of files for a service's next migration; returns their paths, up first. */
export async function createMigration(options: { service: string; name: string; dir?: string }): Promise<[string, string]> {
  const dir = join(options.dir ?? migrationsDir, options.service);
  const name = options.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .replaceAll(/^_|_$/g, "");
  if (name === "") throw new Error("a migration needs a name");
  await mkdir(dir, { recursive: true });
  const last = Math.max(0, ...(await listFiles(dir)).map((file) => Number.parseInt(file, 10) || 0));
  const stem = join(dir, `${String(last + 1).padStart(6, "0")}_${name}`);
  const [up, down] = [`${stem}.up.sql`, `${stem}.down.sql`];
  await writeFile(up, `-- ${name}\n`, { flag: "wx" });
  await writeFile(down, `-- reverts ${name}\n`, { flag: "wx" });
  return [up, down];
}
