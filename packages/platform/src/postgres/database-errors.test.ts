import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { databasePing } from "./database-ping.ts";
import { createPool, transaction } from "./pool.ts";

const logger = createLogger({ service: "test", level: "silent" });
let database: TestDatabase;
let observer: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase({ services: [] });
  observer = openTestPool(database.url, 1);
});
afterAll(async () => {
  await observer.end();
  await database.drop();
});

const open = (url = database.url) => createPool({ url, max: 2, applicationName: "lacking", logger });
const failing = (code: string) => `do $$ begin raise exception using errcode = '${code}', message = 'lacking'; end $$`;

test.each([
  ["53000", "lacks a resource", true],
  ["53100", "disk is full", false],
  ["53200", "no memory left", true],
  ["53300", "no connection left", false],
  ["53400", "limit of its configuration", true],
  ["57P03", "starting or stopping", false],
  ["58030", "cannot read or write its files", false],
  ["25006", "read-only", false],
])("a server that refuses with %s is unavailable, and %s", async (code, words, isReady) => {
  const pool = open();
  const ping = databasePing(pool);
  await expect(ping()).resolves.toBeUndefined();
  const attempts = [() => pool.query(failing(code)), () => transaction(pool, (tx) => tx.query(failing(code)))];
  for (const attempt of attempts) {
    const error = await attempt().catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    expect(String(error)).toContain(words);
  }
  // A statement that asks for too much says nothing about those of others.
  if (isReady) await expect(ping()).resolves.toBeUndefined();
  else await expect(ping()).rejects.toThrow(words);
  // The connections are in order.
  expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await pool.end();
});

test("a write that a read-only server refuses is unavailable", async () => {
  const pool = open();
  const work = transaction(pool, async (tx) => {
    await tx.query("set transaction read only");
    await tx.query("create table things ()");
  });
  expect(reasonOf(await work.catch((error: unknown) => error))).toBe(ErrorReason.DATABASE_UNAVAILABLE);
  await pool.end();
});

test("a server without a free connection is unavailable, and not ready", async () => {
  const login = `limited_${process.pid}`;
  await observer.query(`create role ${login} login password 'limited' connection limit 1`);
  const url = new URL(database.url);
  url.username = login;
  url.password = "limited";
  const pool = open(url.href);
  const taken = await pool.connect();
  const error = await pool.query("select 1").catch((caught: unknown) => caught);
  expect(reasonOf(error)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
  expect(String(error)).toContain("no connection left");
  taken.release();
  await expect(databasePing(pool)()).rejects.toThrow("no connection left");
  await pool.end();
  await observer.query(`drop role ${login}`);
});
