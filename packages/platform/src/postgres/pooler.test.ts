import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import { type Pgbouncer, startPgbouncer } from "@turnwright/testing/pgbouncer";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { migrate } from "./migrations.ts";
import { answeredWithin, createPool, transaction } from "./pool.ts";
import { checkPreparedStatements } from "./pooler-check.ts";
import { openServiceDatabase, type ServiceDatabase } from "./service-database.ts";

const logger = createLogger({ service: "test", level: "silent" });
const [first = "", second = ""] = [1, 2].map((n) => `0198a000-0000-7000-8000-00000000000${n}`);
// A session keeps its backend; transactions share fewer than there are connections.
const backends = { session: 20, transaction: 4 };

let database: TestDatabase;
let direct: pg.Pool;
let hasPgbouncer = false;
const bouncers: Partial<Record<"session" | "transaction", Pgbouncer>> = {};

beforeAll(async () => {
  database = await createTestDatabase({ services: ["conversation"] });
  direct = openTestPool(database.url, 3);
  for (const userId of [first, second]) {
    const sql = "insert into conversation.conversations (id, user_id, agent_type) values (gen_random_uuid(), $1, 'general')";
    await direct.query(sql, [userId]);
  }
  for (const mode of ["session", "transaction"] as const) {
    const started = await startPgbouncer({
      url: database.url,
      mode,
      backends: backends[mode],
      untested: "PostgreSQL behind a pooler",
    });
    if (started === undefined) return;
    bouncers[mode] = started;
    hasPgbouncer = true;
  }
});
afterAll(async () => {
  for (const bouncer of Object.values(bouncers)) await bouncer.stop();
  await direct.end();
  await database.drop();
});

const bouncerOf = (mode: "session" | "transaction"): Pgbouncer => {
  const bouncer = bouncers[mode];
  if (bouncer === undefined) throw new Error("there is no PgBouncer");
  return bouncer;
};
const shown = `select current_user as role, current_schema as schema, current_setting('statement_timeout') as timeout,
  current_setting('enable_seqscan') as scans, current_setting('timezone') as zone`;

describe.each(["session", "transaction"] as const)("behind a pooler in %s mode", (mode) => {
  let service: ServiceDatabase;
  const open = () =>
    openServiceDatabase({
      url: bouncerOf(mode).url,
      schema: "conversation",
      max: 6,
      logger,
      statementTimeoutMs: 20_000,
      isPrepared: bouncerOf(mode).keepsPrepared,
    });

  test("each statement has the settings of its pool, and leaves none to others", async ({ skip }) => {
    if (!hasPgbouncer) return skip();
    service = open();
    const { pool, users } = service.withSettings({ enable_seqscan: "off" });
    const settings = { schema: "conversation", timeout: "20s", scans: "off", zone: "UTC" };
    for (let round = 0; round < 5; round++) {
      const asked = [
        pool.query({ name: "shown", text: shown }),
        pool.query(shown),
        transaction(pool, (tx) => tx.query(shown)),
        users.as(first, (db) => db.query(shown)),
        users.transaction(first, (tx) => tx.query(shown)),
      ];
      const roles = (await Promise.all(asked)).flatMap(({ rows }) => rows);
      const of = (role: string) => ({ role, ...settings });
      expect(roles).toEqual([
        ...Array.from({ length: 3 }, () => of("turnwright_conversation")),
        ...Array.from({ length: 2 }, () => of("turnwright_conversation_user")),
      ]);
    }
    await service.end();
    const plain = openTestPool(bouncerOf(mode).url, 2);
    const left = await Promise.all(
      [1, 2].map(() => plain.query(`${shown}, current_setting('turnwright.user_id', true) as user`)),
    );
    for (const { rows } of left) {
      expect(rows[0]).toMatchObject({ role: "postgres", schema: "public", timeout: "0", scans: "on" });
      expect(rows[0].user ?? "").toBe("");
    }
    await plain.end();
  });

  test("users see their own rows, in and outside of transactions, however their statements mix", async ({ skip }) => {
    if (!hasPgbouncer) return skip();
    service = open();
    const owners = "select array_agg(user_id) as owners from conversations";
    const ask = async (userId: string) => {
      const [alone, within] = await Promise.all([
        service.users.as(userId, async (db) => {
          const one = await db.query({ name: "owners", text: owners });
          return [one.rows[0], (await db.query(owners)).rows[0]];
        }),
        service.users.transaction(userId, async (tx) => (await tx.query(owners)).rows[0]),
      ]);
      return [...alone, within];
    };
    const callers = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? first : second));
    for (const [index, seen] of (await Promise.all(callers.map(ask))).entries()) {
      expect(seen).toEqual([1, 2, 3].map(() => ({ owners: [callers[index]] })));
    }
    // Nobody's rows without a user, although connections have shown some before.
    const userPool = createPool({
      url: bouncerOf(mode).url,
      max: 2,
      role: "turnwright_conversation_user",
      schema: "conversation",
      applicationName: "t",
      logger,
      isPrepared: false,
    });
    expect((await userPool.query(owners)).rows).toEqual([{ owners: null }]);
    await userPool.end();
    await service.end();
  });

  test("a refused statement has no effect and does not spoil its connection or its name", async ({ skip }) => {
    if (!hasPgbouncer) return skip();
    service = open();
    const { pool } = service;
    const query = { name: "later", text: "select count(*)::integer as n from later where $1::integer > 0", values: [1] };
    await expect(pool.query(query)).rejects.toMatchObject({ code: "42P01" });
    await direct.query("create table conversation.later (id integer)");
    await direct.query("grant select on conversation.later to turnwright_conversation");
    expect((await pool.query(query)).rows).toEqual([{ n: 0 }]);
    await expect(pool.query({ ...query, name: "sum", text: "select 1 / ($1::integer - $1::integer)" })).rejects.toMatchObject({
      code: "22012",
    });
    await expect(pool.query({ ...query, name: "sum", text: "select 1 / ($1::integer - $1::integer)" })).rejects.toMatchObject({
      code: "22012",
    });
    const broken = transaction(pool, async (tx) => {
      await tx.query("update conversations set title = 'lost'");
      throw new Error("changed my mind");
    });
    await expect(broken).rejects.toThrow("changed my mind");
    expect((await direct.query("select from conversation.conversations where title = 'lost'")).rowCount).toBe(0);
    expect((await pool.query(query)).rows).toEqual([{ n: 0 }]);
    await direct.query("drop table conversation.later");
    await service.end();
  });

  test("abandoned statements are cancelled", async ({ skip }) => {
    if (!hasPgbouncer) return skip();
    service = open();
    const holder = await direct.connect();
    await holder.query("begin; lock table conversation.runs");
    const waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    const asked = [1, 2, 3].map(() => service.pool.query(answeredWithin(200, { text: "select count(*) from runs" })));
    for (const { reason } of (await Promise.allSettled(asked)) as PromiseRejectedResult[]) {
      expect(reasonOf(reason)).toBe(ErrorReason.DATABASE_UNAVAILABLE);
    }
    await vi.waitFor(async () => expect((await direct.query(waiting)).rowCount).toBe(0), { timeout: 5_000 });
    expect((await service.pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await holder.query("rollback");
    holder.release();
    await service.end();
  });
});

test("migrations run through a pooler once, also when processes start at the same time", async ({ skip }) => {
  if (!hasPgbouncer) return skip();
  const empty = await createTestDatabase({ services: [] });
  const url = new URL(bouncerOf("transaction").url);
  url.pathname = new URL(empty.url).pathname;
  const up = () => migrate({ url: url.href, service: "tool", direction: "up", rolePrefix: "turnwright", sharesRoles: true });
  const ran = await Promise.all([up(), up(), up()]);
  expect(ran.flat().sort()).toEqual(
    (
      await migrate({
        url: empty.url,
        service: "tool",
        direction: "down",
        count: 100,
        rolePrefix: "turnwright",
        sharesRoles: true,
      })
    ).reverse(),
  );
  const plain = openTestPool(url.href, 1);
  expect((await plain.query("select current_schema as schema")).rows).toEqual([{ schema: "public" }]);
  await plain.end();
  await empty.drop();
});

test("a pooler that loses prepared statements is refused with the variable to set", async ({ skip }) => {
  if (!hasPgbouncer) return skip();
  const { url, keepsPrepared } = bouncerOf("transaction");
  const checked = checkPreparedStatements(url);
  if (keepsPrepared) await expect(checked).resolves.toBeUndefined();
  else await expect(checked).rejects.toThrow("DB_PREPARED_STATEMENTS: the pooler in front of PostgreSQL loses prepared");
  await expect(checkPreparedStatements(bouncerOf("session").url)).resolves.toBeUndefined();
  await expect(checkPreparedStatements(database.url)).resolves.toBeUndefined();
});
