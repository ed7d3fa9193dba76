import { once } from "node:events";
import { readFileSync } from "node:fs";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { backUpDatabase, restoreDatabase } from "./backup.ts";
import { migrate, migratedServices } from "./migrations.ts";

const firstRelease = readFileSync(new URL("../../../../tests/upgrade/first-release.sql", import.meta.url), "utf8");
/** Text that a careless copy would change. */
const oddText = "tab\t, feed\n, return\r, \\\\., \\N, é, \u2028, 💡, '";

async function backUp(url: string): Promise<Buffer> {
  const output = new PassThrough();
  const [text] = await Promise.all([buffer(output), backUpDatabase(url, output).then(() => output.end())]);
  return text;
}

/** In pieces of a few bytes, which cut lines and characters anywhere. */
function piecesOf(text: Buffer, size = 1_000): AsyncIterable<Buffer> {
  const pieces: Buffer[] = [];
  for (let at = 0; at < text.length; at += size) pieces.push(text.subarray(at, at + size));
  return Readable.from(pieces, { objectMode: true });
}

/** All rows of all tables, and the next values of sequences. */
async function contents(url: string): Promise<Record<string, unknown>> {
  const pool = openTestPool(url, 1);
  try {
    const { rows: tables } = await pool.query<{ name: string }>(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
      where table_schema = any ($1) and table_name <> 'migrations' order by 1`,
      [migratedServices],
    );
    const found: Record<string, unknown> = {};
    for (const { name } of tables) {
      found[name] = (await pool.query(`select t::text as row from ${name} t order by 1`)).rows;
    }
    found.sequences = (
      await pool.query("select sequencename, last_value from pg_sequences where sequencename <> 'migrations_id_seq' order by 1")
    ).rows;
    found.secured = (
      await pool.query(
        `select relname, relforcerowsecurity from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where nspname = any ($1) and relkind = 'r' order by nspname, relname`,
        [migratedServices],
      )
    ).rows;
    found.triggers = (await pool.query("select tgname, tgenabled from pg_trigger where not tgisinternal order by 1")).rows;
    return found;
  } finally {
    await pool.end();
  }
}

describe("a backup of a used database", () => {
  let source: TestDatabase;
  let rows: pg.Pool;
  let taken: Buffer;
  const targets: TestDatabase[] = [];
  const emptyDatabase = async () => {
    const made = await createTestDatabase({ services: [] });
    targets.push(made);
    return made.url;
  };

  beforeAll(async () => {
    source = await createTestDatabase({ services: [] });
    rows = openTestPool(source.url, 1);
    await rows.query(firstRelease);
    for (const service of migratedServices) await migrate({ url: source.url, service, direction: "up" });
    await rows.query("update conversation.messages set content = $1 where role = 'user'", [oddText]);
    taken = await backUp(source.url);
  });
  afterAll(async () => {
    await rows.end();
    await source.drop();
  });
  afterEach(async () => {
    for (const target of targets.splice(0)) await target.drop();
  });

  test("gives an empty database the same rows, sequences, row security and triggers", async () => {
    const target = await emptyDatabase();
    const { rows: count, header } = await restoreDatabase(target, piecesOf(taken, 7));
    expect(count).toBeGreaterThan(20);
    expect(Date.parse(header.takenAt)).toBeGreaterThan(0);
    expect(await contents(target)).toEqual(await contents(source.url));
    for (const service of migratedServices) expect(await migrate({ url: target, service, direction: "up" })).toEqual([]);
  });

  test("is of one moment, whatever is written meanwhile", async () => {
    const before = await contents(source.url);
    const output = new PassThrough({ highWaterMark: 64 });
    const done = backUpDatabase(source.url, output).then(() => output.end());
    const pieces: Buffer[] = [];
    let isFirst = true;
    for await (const piece of output) {
      pieces.push(piece as Buffer);
      if (isFirst) await rows.query("update auth.users set name = name || '!'");
      isFirst = false;
    }
    await done;
    await rows.query("update auth.users set name = rtrim(name, '!')");
    const target = await emptyDatabase();
    await restoreDatabase(target, piecesOf(Buffer.concat(pieces)));
    expect((await contents(target))["auth.users"]).toEqual(before["auth.users"]);
  });

  test("is restored into a database of an earlier schema than this release's, which then migrates on", async () => {
    const old = await createTestDatabase({ services: [] });
    targets.push(old);
    const pool = openTestPool(old.url, 1);
    await pool.query(firstRelease);
    await pool.end();
    const target = await emptyDatabase();
    await restoreDatabase(target, piecesOf(await backUp(old.url)));
    expect(await contents(target)).toEqual(await contents(old.url));
    for (const service of migratedServices) await migrate({ url: target, service, direction: "up" });
    expect((await contents(target))["auth.users"]).toHaveLength(2);
  });

  test("is refused by a database with data or in use, and leaves it as it is", async () => {
    const before = await contents(source.url);
    await expect(restoreDatabase(source.url, piecesOf(taken))).rejects.toThrow("auth.users has rows");
    expect(await contents(source.url)).toEqual(before);
    const target = await emptyDatabase();
    const user = openTestPool(`${target}?application_name=turnwright-auth`, 1);
    await user.query("select 1");
    await expect(restoreDatabase(target, piecesOf(taken))).rejects.toThrow("in use by turnwright-auth");
    await user.end();
  });

  test("that is cut, foreign or of a later release is refused", async () => {
    const target = await emptyDatabase();
    for (const cut of [0.3, 0.7, 0.99]) {
      const part = taken.subarray(0, Math.floor(taken.length * cut));
      await expect(restoreDatabase(target, piecesOf(part)), String(cut)).rejects.toThrow(/cut|invalid|syntax|missing/);
      expect((await contents(target))["auth.users"], String(cut)).toEqual([]);
    }
    await expect(restoreDatabase(target, piecesOf(Buffer.from("select 1;\n")))).rejects.toThrow("not a backup of Turnwright");
    const later = Buffer.from(taken.toString().replace("000001_create_users_and_tokens", "000001_of_a_later_release"));
    await expect(restoreDatabase(target, piecesOf(later))).rejects.toThrow("auth/000001_of_a_later_release");
    await restoreDatabase(target, piecesOf(taken));
    expect((await contents(target))["auth.users"]).toHaveLength(2);
  });

  test("whose output fails ends with that failure, also when it failed before there was more to write", async () => {
    const output = new PassThrough();
    const failed = new Error("no space left on the disk");
    const reported = once(output, "error");
    output.destroy(failed);
    await reported;
    await expect(backUpDatabase(source.url, output)).rejects.toThrow(failed);
  });

  test("is complete when the login is not a superuser but owns the tables", async () => {
    const login = `backup_owner_${process.pid}`;
    const target = await emptyDatabase();
    const admin = openTestPool(target, 1);
    const name = new URL(target).pathname.slice(1);
    await admin.query(`create role ${login} login password 'owner' createrole; grant create on database ${name} to ${login}`);
    const owned = new URL(target);
    owned.username = login;
    owned.password = "owner";
    try {
      await restoreDatabase(owned.href, piecesOf(taken));
      expect(await backUp(owned.href).then((text) => dataOf(text))).toEqual(dataOf(taken));
    } finally {
      for (const schema of migratedServices) await admin.query(`drop schema if exists ${schema} cascade`);
      await admin.query(`drop owned by ${login} cascade`);
      await admin.end();
    }
  });
});

/** A backup's rows, sorted: tables keep no order. */
function dataOf(text: Buffer): string[] {
  return text.toString().split("\n").slice(2).sort();
}
