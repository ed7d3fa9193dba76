import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { createLoggedLines } from "@turnwright/testing/logged-lines";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { createPool, isUniqueViolation, transaction } from "./pool.ts";

const logger = createLogger({ service: "test", level: "silent" });

describe("a pool", () => {
  let database: TestDatabase;
  let pool: pg.Pool;

  beforeAll(async () => {
    database = await createTestDatabase({ services: [] });
    pool = createPool({ url: database.url, max: 4, schema: "auth", applicationName: "pool-test", logger });
    await pool.query("create schema auth");
    await pool.query("create table things (id bigint primary key, name text, constraint things_name unique (name))");
  });

  afterAll(async () => {
    await pool.end();
    await database.drop();
  });

  test("logs that the server ends an idle connection, but not while the pool itself ends", async () => {
    const log = createLoggedLines();
    const other = createPool({ url: database.url, max: 2, applicationName: "idle-test", logger: log.logger });
    await other.query("select 1");
    const cause = Object.assign(new Error("terminating connection"), { code: "57P01" });
    const client = undefined as unknown as pg.PoolClient;
    other.emit("error", cause, client);
    other.emit("error", cause, client);
    const ending = other.end();
    other.emit("error", Object.assign(new Error("reset"), { code: "ECONNRESET" }), client);
    await ending;
    expect(log.lines).toMatchObject([{ level: "warn", msg: "idle database connection lost", cause: "57P01" }]);
  });

  test("sees its schema and has a name", async () => {
    const { rows } = await pool.query(
      "select current_schema as schema, current_setting('application_name') as name, current_setting('timezone') as zone",
    );
    expect(rows).toEqual([{ schema: "auth", name: "pool-test", zone: "UTC" }]);
  });

  test("sees its schema even when the URL has its own options", async () => {
    const url = new URL(database.url);
    url.searchParams.set("options", "-c work_mem=5MB");
    const other = createPool({ url: url.href, max: 1, schema: "auth", applicationName: "t", logger });
    const { rows } = await other.query("select current_schema as schema, current_setting('work_mem') as memory");
    await other.end();
    expect(rows).toEqual([{ schema: "auth", memory: "5MB" }]);
  });

  test("reads bigint and numeric as numbers, and refuses a bigint beyond 2^53", async () => {
    const { rows } = await pool.query(
      "select 9007199254740991::bigint as big, 0.0125::numeric as cost, count(*) as count from things",
    );
    expect(rows).toEqual([{ big: 9_007_199_254_740_991, cost: 0.0125, count: 0 }]);
    await expect(pool.query("select 9007199254740993::bigint")).rejects.toThrow("beyond 2^53");
    await expect(pool.query("select 1")).resolves.toBeDefined();
  });

  test("survives a connection that the server ends while it is being closed", async () => {
    const own = createPool({ url: database.url, max: 1, schema: "auth", applicationName: "closing", logger });
    let client: pg.PoolClient | undefined;
    own.on("connect", (connected) => {
      client = connected;
    });
    await own.query("select 1");
    await own.end();
    expect(client?.emit("error", new Error("terminating connection due to administrator command"))).toBe(true);
  });

  test("commits a transaction", async () => {
    const id = await transaction(pool, async (tx) => {
      await tx.query("insert into things values (1, 'one')");
      return 1;
    });
    expect((await pool.query("select name from things where id = $1", [id])).rows).toEqual([{ name: "one" }]);
  });

  test("rolls back a transaction that throws", async () => {
    const broken = transaction(pool, async (tx) => {
      await tx.query("insert into things values (2, 'two')");
      throw new Error("changed my mind");
    });
    await expect(broken).rejects.toThrow("changed my mind");
    expect((await pool.query("select from things where id = 2")).rowCount).toBe(0);
  });

  test("does not report a failed transaction as committed", async () => {
    const broken = transaction(pool, async (tx) => {
      await tx.query("insert into things values (3, 'three')");
      await tx.query("select 1 / 0").catch(() => {});
    });
    await expect(broken).rejects.toThrow("rolled back");
    expect((await pool.query("select from things where id = 3")).rowCount).toBe(0);
  });

  test("reports the violated unique constraint", async () => {
    await pool.query("insert into things values (10, 'ten')");
    const byName = await pool.query("insert into things values (11, 'ten')").catch((error: unknown) => error);
    expect(isUniqueViolation(byName)).toBe(true);
    expect(isUniqueViolation(byName, "things_name")).toBe(true);
    expect(isUniqueViolation(byName, "things_pkey")).toBe(false);
    expect(isUniqueViolation(new Error("other"))).toBe(false);
  });

  test("ends a statement that takes too long", async () => {
    const hasty = createPool({ url: database.url, applicationName: "hasty", logger, statementTimeoutMs: 50 });
    const error = await hasty.query("select pg_sleep(20)").catch((caught: unknown) => caught);
    await hasty.end();
    expect(reasonOf(error)).toBe(ErrorReason.DEADLINE_EXCEEDED);
  });

  test("reports an unavailable database when a connection is lost inside a transaction, and continues with a new one", async () => {
    const broken = transaction(pool, async (tx) => {
      const { rows } = await tx.query<{ pid: number }>("select pg_backend_pid() as pid");
      await pool.query("select pg_terminate_backend($1)", [rows[0]?.pid]);
      await tx.query("select 1");
    });
    expect(reasonOf(await broken.catch((error: unknown) => error))).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    await expect(transaction(pool, (tx) => tx.query("select 1"))).resolves.toMatchObject({ rowCount: 1 });
  });

  test("survives the loss of its idle connections", async () => {
    const idle = createPool({ url: database.url, applicationName: "idle-test", logger });
    await idle.query("select 1");
    const removed = new Promise((resolve) => idle.once("remove", resolve));
    await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'idle-test'");
    await removed;
    await expect(idle.query("select 1")).resolves.toMatchObject({ rowCount: 1 });
    await idle.end();
  });

  test("reports an unavailable database when nothing listens and when the database does not exist", async () => {
    const nobody = createPool({ url: "postgres://u:p@127.0.0.1:1/x", applicationName: "t", logger });
    const other = new URL(database.url);
    other.pathname = "/absent";
    const absent = createPool({ url: other.href, applicationName: "t", logger });
    for (const broken of [nobody, absent]) {
      const attempts = [() => broken.query("select 1"), () => broken.connect(), () => transaction(broken, async () => {})];
      for (const attempt of attempts) {
        expect(reasonOf(await attempt().catch((error: unknown) => error))).toBe(ErrorReason.DATABASE_UNAVAILABLE);
      }
      await broken.end();
    }
  });
});
