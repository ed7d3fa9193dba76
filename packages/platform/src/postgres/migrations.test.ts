import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createMigration, migrate } from "./migrations.ts";

let dir = "";
let database: TestDatabase;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "turnwright-migrations-"));
  await mkdir(join(dir, "tool"));
  database = await createTestDatabase({ services: [] });
});

afterEach(async () => {
  await database.drop();
  await rm(dir, { recursive: true });
});

async function write(name: string, up: string, down: string): Promise<void> {
  await writeFile(join(dir, "tool", `${name}.up.sql`), up);
  await writeFile(join(dir, "tool", `${name}.down.sql`), down);
}

async function query(text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function tables(): Promise<unknown[]> {
  const rows = await query("select table_name from information_schema.tables where table_schema = 'tool' order by 1");
  return rows.map((row) => row.table_name);
}

const run = (direction: "up" | "down", count?: number) => migrate({ url: database.url, service: "tool", direction, count, dir });

describe("migrations", () => {
  test("go up, down and up again, in a schema of the service", async () => {
    await write("000001_first", "create table first (id int);\n-- done", "drop table first;");
    await write("000002_second", "create table second (id int);\ninsert into second values (1);", "drop table second;");
    expect(await run("up")).toEqual(["000001_first", "000002_second"]);
    expect(await tables()).toEqual(["first", "migrations", "second"]);
    expect(await run("up")).toEqual([]);
    expect(await run("down")).toEqual(["000002_second"]);
    expect(await tables()).toEqual(["first", "migrations"]);
    expect(await run("down", 5)).toEqual(["000001_first"]);
    expect(await run("up", 1)).toEqual(["000001_first"]);
    expect(await run("up")).toEqual(["000002_second"]);
    expect(await query("select id from tool.second")).toEqual([{ id: 1 }]);
  });

  test("need read access only when all have run", async () => {
    await write("000001_first", "create table first (id int);", "drop table first;");
    await run("up");
    const name = `looker_${process.pid}`;
    const looker = new URL(database.url);
    looker.username = name;
    looker.password = "looks";
    await query(`create role ${name} login password 'looks'`);
    try {
      await query(`grant usage on schema tool to ${name}; grant select on tool.migrations to ${name}`);
      const up = () => migrate({ url: looker.href, service: "tool", direction: "up", dir });
      expect(await up()).toEqual([]);
      await write("000002_second", "create table second (id int);", "drop table second;");
      await expect(up()).rejects.toThrow("permission denied");
    } finally {
      await query(`drop owned by ${name}; drop role ${name}`);
    }
  });

  test("run once when several processes start at the same time", async () => {
    // Slow, so that the others arrive while it runs.
    await write(
      "000001_slow",
      "create table slow (id int); select pg_sleep(0.3); insert into slow values (1);",
      "drop table slow;",
    );
    const runs = await Promise.all([run("up"), run("up"), run("up")]);
    expect(runs.flat()).toEqual(["000001_slow"]);
    expect(await query("select id from tool.slow")).toEqual([{ id: 1 }]);
  });

  test("leave nothing of a failed one, keep those before it, and pass once it is fixed", async () => {
    await write("000001_good", "create table good (id int);", "drop table good;");
    await write("000002_bad", "create table half (id int); create table half (id int);", "drop table half;");
    await expect(run("up")).rejects.toThrow(/tool\/000002_bad .*already exists/);
    expect(await tables()).toEqual(["good", "migrations"]);
    expect(await query("select name from tool.migrations")).toEqual([{ name: "000001_good" }]);
    await write("000002_bad", "create table half (id int);", "drop table half;");
    expect(await run("up")).toEqual(["000002_bad"]);
  });

  test("refuse one inserted before those that ran", async () => {
    await write("000002_second", "select 1;", "select 1;");
    await run("up");
    await write("000001_first", "select 1;", "select 1;");
    await expect(run("up")).rejects.toThrow("000001_first");
  });

  test("refuse a schema of a later release, change nothing of it, and name what they do not know", async () => {
    await write("000001_first", "create table first (id int);", "drop table first;");
    await write("000002_second", "create table second (id int);", "drop table second;");
    await run("up");
    await rm(join(dir, "tool", "000002_second.up.sql"));
    await rm(join(dir, "tool", "000002_second.down.sql"));
    const refused = /schema tool .*another release: it has 000002_second, .*after 000001_first/;
    await expect(run("up")).rejects.toThrow(refused);
    await write("000003_third", "create table third (id int);", "drop table third;");
    await expect(run("up")).rejects.toThrow(/it has 000002_second/);
    expect(await tables()).toEqual(["first", "migrations", "second"]);
  });

  test("refuse files that would be skipped, lack their pair or share a number", async () => {
    await writeFile(join(dir, "tool", "1_short.up.sql"), "");
    await expect(run("up")).rejects.toThrow("expected a name like");
    await rm(join(dir, "tool", "1_short.up.sql"));
    await writeFile(join(dir, "tool", "000001_alone.up.sql"), "");
    await expect(run("up")).rejects.toThrow("needs both");
    await writeFile(join(dir, "tool", "000001_alone.down.sql"), "");
    await write("000001_twin", "", "");
    await expect(run("up")).rejects.toThrow("number 000001");
    await expect(migrate({ url: database.url, service: "auth", direction: "up", dir })).rejects.toThrow("cannot be read");
  });

  test("report an unavailable database", async () => {
    const url = "postgres://u:p@127.0.0.1:1/x";
    const error = await migrate({ url, service: "tool", direction: "up", dir }).catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
  });
});

describe("a new migration", () => {
  test("gets the next number and a pair of files that run", async () => {
    const first = await createMigration({ service: "tool", name: "Create things!", dir });
    expect(first.map((path) => basename(path))).toEqual(["000001_create_things.up.sql", "000001_create_things.down.sql"]);
    await writeFile(first[0], "create table things (id int);");
    const second = await createMigration({ service: "tool", name: "more", dir });
    expect(basename(second[0])).toBe("000002_more.up.sql");
    expect(await readFile(second[1], "utf8")).toContain("more");
    expect(await run("up")).toEqual(["000001_create_things", "000002_more"]);
    expect(await run("down", 1)).toEqual(["000002_more"]);
  });

  test("needs a name", async () => {
    await expect(createMigration({ service: "tool", name: " !", dir })).rejects.toThrow("needs a name");
  });
});
