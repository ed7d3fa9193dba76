import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import { faultProxy } from "@turnwright/testing/fault-proxy";
import type pg from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { hedged } from "./patience.ts";
import { answeredWithin, createPool, transaction } from "./pool.ts";

const logger = createLogger({ service: "test", level: "silent" });
const most = 4;
let database: TestDatabase;
let observer: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase({ services: [] });
  observer = openTestPool(database.url, 2);
  await observer.query("create table things (id integer primary key)");
});
afterAll(async () => {
  await observer.end();
  await database.drop();
});

const open = (applicationName: string, url = database.url) => createPool({ url, max: most, applicationName, logger });

/** The backends of a pool, and those of them that wait for a lock. */
async function backends(name: string): Promise<{ all: number; waiting: number }> {
  const { rows } = await observer.query<{ all: number; waiting: number }>(
    "select count(*)::integer as all, (count(*) filter (where wait_event_type = 'Lock'))::integer as waiting from " +
      "pg_stat_activity where application_name = $1",
    [name],
  );
  return rows[0] ?? { all: 0, waiting: 0 };
}

/** Runs `work` while another transaction holds the table. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  const holder = await observer.connect();
  await holder.query("begin; lock table things in access exclusive mode");
  try {
    await work();
  } finally {
    await holder.query("rollback");
    holder.release();
  }
}

const insert = { text: "insert into things values (1) on conflict do nothing" };

test("statements that their callers abandon at a locked table are cancelled, and never take more than the pool's connections", async () => {
  const pool = open("abandoned");
  let highest = 0;
  await whileLocked(async () => {
    const until = performance.now() + 2_500;
    const callers = Array.from({ length: 12 }, async () => {
      while (performance.now() < until) {
        const error = await pool.query(answeredWithin(100, insert)).catch((caught: unknown) => caught);
        expect(reasonOf(error)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
        highest = Math.max(highest, (await backends("abandoned")).all);
      }
    });
    await Promise.all(callers);
    await vi.waitFor(async () => expect(await backends("abandoned")).toEqual({ all: most, waiting: 0 }), { timeout: 5_000 });
    // The table is still locked, and the connections serve.
    expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
  expect(highest).toBe(most);
  await pool.end();
});

test("a transaction whose statement is abandoned is rolled back and gives its connection back", async () => {
  const pool = createPool({ url: database.url, max: 1, applicationName: "abandoned-tx", logger });
  const pid = async () => (await pool.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]?.pid;
  const before = await pid();
  await observer.query("delete from things");
  await whileLocked(async () => {
    const work = transaction(pool, async (tx) => {
      await tx.query("create temporary table mine ()");
      await tx.query(answeredWithin(100, insert));
    });
    expect(reasonOf(await work.catch((error: unknown) => error))).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    expect(await pid()).toBe(before);
  });
  expect((await pool.query("select to_regclass('mine') as mine")).rows).toEqual([{ mine: null }]);
  expect((await observer.query("select from things")).rowCount).toBe(0);
  await pool.end();
});

test("an attempt that another one has overtaken is cancelled", async () => {
  const pool = open("overtaken");
  let attempts = 0;
  await whileLocked(async () => {
    const answer = await hedged(async (signal) => {
      attempts += 1;
      const query = attempts === 1 ? insert : { text: "select 1" };
      return await pool.query(answeredWithin(60_000, query, signal));
    }, 100);
    expect(answer.rowCount).toBe(1);
    await vi.waitFor(async () => expect((await backends("overtaken")).waiting).toBe(0), { timeout: 5_000 });
  });
  await pool.end();
});

test("hedging begins no more than a few attempts beside the first ones", async () => {
  const pool = createPool({ url: database.url, max: 40, applicationName: "hedges", logger });
  let all: Promise<unknown>[] = [];
  await whileLocked(async () => {
    all = Array.from({ length: 10 }, () => hedged((signal) => pool.query(answeredWithin(10_000, insert, signal)), 20));
    await vi.waitFor(async () => expect((await backends("hedges")).waiting).toBe(14), { timeout: 5_000 });
    // Long enough for every attempt that may begin.
    await observer.query("select pg_sleep(0.2)");
    expect((await backends("hedges")).all).toBe(14);
  });
  await Promise.all(all);
  await pool.end();
});

test("a connection whose server can neither answer nor be told to stop is given up", async () => {
  const proxy = await faultProxy(new URL(database.url));
  const pool = open("unreachable", proxy.url);
  await pool.query("select 1");
  proxy.hold();
  const error = await pool.query(answeredWithin(50, { text: "select 1" })).catch((caught: unknown) => caught);
  expect(reasonOf(error)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
  await vi.waitFor(() => expect(pool.totalCount).toBe(0), { timeout: 15_000, interval: 100 });
  await pool.end();
  proxy.close();
});

test("the server stops a statement whose client is gone", async () => {
  const pool = open("gone");
  const { rows } = await pool.query("show client_connection_check_interval");
  expect(rows).toEqual([{ client_connection_check_interval: process.platform === "linux" ? "5s" : expect.anything() }]);
  await pool.end();
});
