import { once } from "node:events";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import copy from "pg-copy-streams";
import { knownMigrations, migrate, migratedServices } from "./migrations.ts";

/** First line of a backup, before its header. */
export const backupMark = "-- turnwright backup 1";

/** The facts of a backup that its restore needs; the second line of the file, as a comment. */
export interface BackupHeader {
  /** When the snapshot was taken; ISO 8601. */
  readonly takenAt: string;
  /** Applied migrations of each schema, in order. */
  readonly migrations: Readonly<Record<string, readonly string[]>>;
}

/** A table with its columns, in the order in which rows are copied. */
interface Table {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
  /** A role that reads all rows where row security would hide some from the login; undefined: the login does. */
  readonly reader: string | undefined;
}

/**
 * Tables come before those that refer to them. Migrations are left out: the header has them. Generated columns have no
 * values of their own.
 */
const tablesSql = `
with recursive tables as (
  select c.oid, n.nspname as schema, c.relname as name, c.relrowsecurity
    and (c.relforcerowsecurity or not pg_has_role(c.relowner, 'usage'))
    and not exists (select from pg_roles where rolname = current_user and (rolsuper or rolbypassrls)) as secured
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and n.nspname = any ($1::text[]) and c.relname <> 'migrations'
), ranked as (
  select oid, 0 as rank from tables
  union all
  select f.conrelid, r.rank + 1 from ranked r join pg_constraint f on f.confrelid = r.oid and f.contype = 'f'
    and f.conrelid <> r.oid
)
select t.schema, t.name, t.secured,
  (select json_agg(quote_ident(a.attname) order by a.attnum) from pg_attribute a
    where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
  (select json_agg(distinct role) from pg_policies p, unnest(p.roles) role
    where p.schemaname = t.schema and p.tablename = t.name and p.cmd in ('ALL', 'SELECT') and p.qual = 'true') as readers
from tables t
order by (select max(rank) from ranked where ranked.oid = t.oid), t.schema, t.name`;

interface TableRow {
  readonly schema: string;
  readonly name: string;
  readonly secured: boolean;
  readonly columns: string[];
  readonly readers: string[] | null;
}

async function tablesOf(client: pg.Client): Promise<Table[]> {
  const { rows } = await client.query<TableRow>(tablesSql, [migratedServices]);
  const { rows: me } = await client.query<{ name: string }>("select current_user as name");
  return rows.map(({ schema, name, secured, columns, readers }) => {
    const isOpen = !secured || readers?.some((role) => role === "public" || role === me[0]?.name);
    const reader = isOpen ? undefined : readers?.[0];
    if (!isOpen && reader === undefined) {
      throw new Error(`this login cannot read all rows of ${schema}.${name}: take backups as a superuser or with bypassrls`);
    }
    return { schema, name, columns, reader };
  });
}

/**
 * Writes all rows of a migrated database as SQL that `restoreDatabase` and psql read: one snapshot of all schemas,
 * while the system runs. Returns the number of rows. The file holds password hashes, signing keys and conversations.
 * Throws when a schema is missing, or when row security hides rows from the login.
 */
export async function backUpDatabase(url: string, output: Writable): Promise<number> {
  return await withClient(url, "turnwright-backup", async (client) => {
    await client.query("begin isolation level repeatable read read only");
    const migrations: Record<string, string[]> = {};
    for (const schema of migratedServices) migrations[schema] = await migrationsOf(client, schema);
    const { rows: clock } = await client.query<{ now: Date }>("select now()");
    const header: BackupHeader = { takenAt: clock[0]?.now.toISOString() ?? "", migrations };
    await write(output, `${backupMark}\n-- ${JSON.stringify(header)}\n`);
    let total = 0;
    for (const table of await tablesOf(client)) {
      const target = `${pg.escapeIdentifier(table.schema)}.${pg.escapeIdentifier(table.name)} (${table.columns.join(", ")})`;
      await write(output, `copy ${target} from stdin;\n`);
      if (table.reader !== undefined) await client.query(`set local role ${pg.escapeIdentifier(table.reader)}`);
      const rows = client.query(copy.to(`copy ${target} to stdout`));
      for await (const piece of rows) await write(output, piece as Buffer);
      total += rows.rowCount;
      if (table.reader !== undefined) await client.query("reset role");
      await write(output, "\\.\n");
    }
    for (const [sequence, last] of await sequencesOf(client)) {
      await write(output, `select setval(${pg.escapeLiteral(sequence)}, ${last});\n`);
    }
    await write(output, "-- end\n");
    await client.query("commit");
    return total;
  });
}

/** The outcome of a restore. */
export interface Restored {
  readonly header: BackupHeader;
  readonly rows: number;
}

/**
 * Puts a backup into a database without accounts and conversations: migrates it as far as the backup was, then copies
 * all rows in one transaction. The next start migrates on. Throws, without a change, when the database is in use or has
 * data. Throws when the backup is cut or of a later release; the database then has schemas and no rows, and the restore
 * can be repeated.
 */
export async function restoreDatabase(
  url: string,
  input: AsyncIterable<Buffer>,
  options: { rolePrefix?: string; dir?: string } = {},
): Promise<Restored> {
  const lines = linesOf(input);
  const header = await readHeader(lines);
  await withClient(url, "turnwright-restore", async (client) => {
    await refuseUnlessEmpty(client);
    for (const schema of migratedServices) await client.query(`drop schema if exists ${schema} cascade`);
  });
  for (const service of migratedServices) {
    const names = header.migrations[service] ?? [];
    const known = await knownMigrations(service, options.dir);
    const unknown = names.find((name, index) => known[index] !== name);
    if (unknown !== undefined) throw new Error(`the backup is of another release: this one does not know ${service}/${unknown}`);
    if (names.length > 0) await migrate({ url, service, direction: "up", count: names.length, ...options });
  }
  return await withClient(url, "turnwright-restore", async (client) => {
    await client.query("begin");
    const tables = await tableNames(client);
    for (const table of tables) {
      await client.query(`alter table ${table} no force row level security, disable trigger user`);
    }
    await client.query(`truncate ${tables.join(", ")}`);
    const rows = await copyRows(client, lines);
    for (const table of tables) await client.query(`alter table ${table} enable trigger user`);
    for (const table of await securedTables(client, tables)) await client.query(`alter table ${table} force row level security`);
    await client.query("commit");
    return { header, rows };
  });
}

async function readHeader(lines: AsyncGenerator<Buffer>): Promise<BackupHeader> {
  const mark = await lines.next();
  const facts = await lines.next();
  if (mark.done || facts.done || mark.value.toString() !== `${backupMark}\n`)
    throw new Error("the file is not a backup of Turnwright");
  return JSON.parse(facts.value.toString().slice("-- ".length)) as BackupHeader;
}

/** Milliseconds for which the server may list the connections of a process that has just ended. */
const lingerMs = 1_000;
const lookMs = 50;

async function refuseWhileUsed(client: pg.Client): Promise<void> {
  const until = performance.now() + lingerMs;
  for (;;) {
    const { rows } = await client.query<{ name: string }>(
      `select application_name as name from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and application_name like 'turnwright%' limit 1`,
    );
    const [user] = rows;
    if (user === undefined) return;
    if (performance.now() > until) throw new Error(`the database is in use by ${user.name}: stop Turnwright before a restore`);
    await delay(lookMs);
  }
}

async function refuseUnlessEmpty(client: pg.Client): Promise<void> {
  await refuseWhileUsed(client);
  // Row security would hide rows from the login that owns the tables; the rollback puts it back.
  await client.query("begin");
  for (const table of ["auth.users", "conversation.conversations", "tool.tool_executions"]) {
    const { rows: found } = await client.query<{ exists: boolean }>("select to_regclass($1) is not null as exists", [table]);
    if (found[0]?.exists !== true) continue;
    await client.query(`alter table ${table} no force row level security`);
    const { rowCount } = await client.query(`select from ${table} limit 1`);
    if (rowCount !== 0) throw new Error(`${table} has rows: restore into an empty database`);
  }
  await client.query("rollback");
}

async function copyRows(client: pg.Client, lines: AsyncGenerator<Buffer>): Promise<number> {
  let total = 0;
  for await (const line of lines) {
    const statement = line.toString().trimEnd();
    if (statement === "-- end") return total;
    if (statement.startsWith("copy ")) total += await copyTable(client, statement.replace(/;$/, ""), lines);
    else await client.query(statement);
  }
  throw new Error("the backup is cut: its end is missing");
}

async function copyTable(client: pg.Client, statement: string, lines: AsyncGenerator<Buffer>): Promise<number> {
  const target = client.query(copy.from(statement));
  await pipeline(async function* () {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error("the backup is cut: its end is missing");
      if (value.equals(endOfRows)) return;
      yield value;
    }
  }, target);
  return target.rowCount;
}

const endOfRows = Buffer.from("\\.\n");

/** The lines of a stream with their line feeds. Rows have no others: COPY escapes those of values. */
async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  for await (const chunk of input) {
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      const line = chunk.subarray(from, at + 1);
      yield begun.length === 0 ? line : Buffer.concat([...begun, line]);
      begun = [];
      from = at + 1;
    }
    if (from < chunk.length) begun.push(chunk.subarray(from));
  }
  if (begun.length > 0) yield Buffer.concat(begun);
}

async function tableNames(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname = any ($1::text[]) and c.relname <> 'migrations' order by 1`,
    [migratedServices],
  );
  return rows.map(({ name }) => name);
}

async function securedTables(client: pg.Client, tables: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) name join pg_class c on c.oid = to_regclass(name) where c.relrowsecurity",
    [tables],
  );
  return rows.map(({ name }) => name);
}

async function migrationsOf(client: pg.Client, schema: string): Promise<string[]> {
  const { rows } = await client
    .query<{ name: string }>(`select name from ${schema}.migrations order by run_on, id`)
    .catch((cause) => {
      throw new Error(`the schema ${schema} cannot be read: ${cause.message}`, { cause });
    });
  return rows.map(({ name }) => name);
}

async function sequencesOf(client: pg.Client): Promise<[string, string][]> {
  const { rows } = await client.query<{ name: string; last: string | null }>(
    `select quote_ident(schemaname) || '.' || quote_ident(sequencename) as name, last_value::text as last
    from pg_sequences where schemaname = any ($1::text[]) and sequencename <> 'migrations_id_seq'`,
    [migratedServices],
  );
  return rows.flatMap(({ name, last }) => (last === null ? [] : [[name, last] as [string, string]]));
}

/** Rejects when the output has failed, or fails before it takes more. */
async function write(output: Writable, text: string | Buffer): Promise<void> {
  if (output.destroyed) throw output.errored ?? new Error("the output was closed");
  if (!output.write(text)) await once(output, "drain");
}

async function withClient<T>(url: string, name: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: name, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
