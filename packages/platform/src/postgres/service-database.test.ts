import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../logger.ts";
import { openServiceDatabase, type ServicePools } from "./service-database.ts";

const logger = createLogger({ service: "test", level: "silent" });
const userId = "0198a000-0000-7000-8000-000000000001";

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await createTestDatabase({ services: ["auth"] });
});
afterAll(() => testDatabase.drop());

const open = () => openServiceDatabase({ url: testDatabase.url, schema: "auth", max: 5, logger });
const shown = "select current_setting('turnwright.test', true) as value, pg_backend_pid() as pid";

interface Shown {
  value: string | null;
  pid: number;
}

/** The setting as several connections at once show it, of the pool for all users and of that for single users. */
async function settingsOf({ pool, users }: ServicePools): Promise<(string | null)[]> {
  const gate = openTestPool(testDatabase.url, 1);
  await gate.query("select pg_advisory_lock(1)");
  // Each keeps its connection until all five wait.
  const held = `${shown} from pg_advisory_xact_lock_shared(1)`;
  const asked = Promise.all([
    ...[1, 2, 3, 4].map(() => pool.query<Shown>(held)),
    users.as(userId, (db) => db.query<Shown>(held)),
  ]);
  const waiting = `select from pg_locks where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())`;
  await expect.poll(async () => (await gate.query(waiting)).rowCount, { timeout: 10_000 }).toBe(5);
  await gate.end();
  const rows = (await asked).flatMap((result) => result.rows);
  expect(new Set(rows.map(({ pid }) => pid)).size).toBe(5);
  return rows.map(({ value }) => value);
}

test("each connection begins with the settings, also where the database has been used before", async () => {
  const database = open();
  await database.pool.query("select 1");
  await database.users.as(userId, (db) => db.query("select 1"));
  const pools = database.withSettings({ "turnwright.test": "one", jit: "off" });
  expect(await settingsOf(pools)).toEqual(Array.from({ length: 5 }, () => "one"));
  expect((await pools.pool.query("show jit")).rows).toEqual([{ jit: "off" }]);
  await database.end();
});

test("settings hold for their own pools only", async () => {
  const database = open();
  const [one, other] = ["one", "other"].map((value) => database.withSettings({ "turnwright.test": value }));
  expect(await settingsOf(one as ServicePools)).toEqual(Array.from({ length: 5 }, () => "one"));
  expect(await settingsOf(other as ServicePools)).toEqual(Array.from({ length: 5 }, () => "other"));
  expect((await database.pool.query<Shown>(shown)).rows[0]?.value ?? "").toBe("");
  await database.end();
});

test("end closes the pools with settings too", async () => {
  const database = open();
  const { pool } = database.withSettings({ "turnwright.test": "one" });
  await pool.query("select 1");
  await database.end();
  await expect(pool.query("select 1")).rejects.toThrow("after calling end");
  expect(pool.totalCount).toBe(0);
});
