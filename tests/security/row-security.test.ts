import { randomBytes, randomUUID } from "node:crypto";
import { createLogger } from "@turnwright/platform/logger";
import { type MigratedService, migrate, migratedServices } from "@turnwright/platform/postgres/migrations";
import { openServiceDatabase, type ServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

let database: TestDatabase;
let owner: pg.Client;
const opened = new Map<MigratedService, ServiceDatabase>();
const [alice, bob] = [randomUUID(), randomUUID()];

beforeAll(async () => {
  database = await createTestDatabase({ services: migratedServices });
  owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
  const logger = createLogger({ service: "test", level: "silent" });
  for (const schema of migratedServices) opened.set(schema, openServiceDatabase({ url: database.url, schema, max: 4, logger }));
  await fill();
});
afterAll(async () => {
  await owner.end();
  for (const one of opened.values()) await one.end();
  await database.drop();
});

/** Inserts a row of Alice's into every table with rows of users. */
async function fill(): Promise<void> {
  const [conversation, run, token] = [randomUUID(), randomUUID(), randomUUID()];
  await owner.query("insert into auth.users (id, email, password_hash) values ($1, 'alice@example.com', 'x')", [alice]);
  await owner.query(
    `insert into auth.user_tokens (id, user_id, family_id, token_type, token_hash, rate_limit_per_minute, rate_limit_per_day)
     values ($1, $2, $1, 'api_key', $3, 1, 1)`,
    [token, alice, randomBytes(32)],
  );
  await owner.query(
    "insert into auth.idempotency_keys (key_hash, user_id, method, request_hash) values ('k', $1, 'm', 'r'), ('public', null, 'm', 'r')",
    [alice],
  );
  await owner.query("insert into auth.usage values ($1, $2, '2026-01-01', 'm', 1, 1, 1, 1)", [alice, token]);
  await owner.query("insert into conversation.conversations (id, user_id) values ($1, $2)", [conversation, alice]);
  await owner.query("insert into conversation.user_totals values ($1, 1)", [alice]);
  await owner.query(
    "insert into conversation.messages (conversation_id, id, sequence_number, role) values ($1, gen_random_uuid(), 1, 'user')",
    [conversation],
  );
  await owner.query(
    "insert into conversation.webhooks (id, user_id, url, secret) values (gen_random_uuid(), $1, 'https://example.com/', $2)",
    [alice, randomBytes(32)],
  );
  await owner.query(
    "insert into conversation.idempotency_keys (key_hash, user_id, method, request_hash) values ('k', $1, 'm', 'r')",
    [alice],
  );
  // A trigger inserts a delivery as well.
  await owner.query("insert into conversation.runs (run_id, conversation_id, user_id, status) values ($1, $2, $3, 'waiting')", [
    run,
    conversation,
    alice,
  ]);
  await owner.query("insert into conversation.event_listeners (user_id, until) values ($1, now() + interval '1 hour')", [alice]);
  await owner.query("insert into conversation.run_events (run_id, seq, type) values ($1, 1, 'begun')", [run]);
  // A trigger notes an event for the listener as well.
  await owner.query(
    `insert into conversation.approvals (id, conversation_id, run_id, user_id, epoch, position, call_id, tool_name, arguments)
     values (gen_random_uuid(), $1, $2, $3, 1, 0, 'c', 't', '{}')`,
    [conversation, run, alice],
  );
  await owner.query(
    `insert into tool.tool_executions (id, user_id, tool_call_id, tool_name, tool_version, effect, status, arguments_hash, input)
     values (gen_random_uuid(), $1, 'c', 't', '1', 'read', 'success', '', '{}')`,
    [alice],
  );
}

/** Tables without rows of a single user, each with the reason why a user's role sees nothing in it. */
const shared = new Set([
  "auth.audit_head",
  "auth.audit_log",
  "auth.invites",
  "auth.login_attempts",
  "auth.revocations",
  "auth.signing_keys",
  "auth.spend_reservations",
  "conversation.audit_head",
  "conversation.audit_log",
  "conversation.journal_pulse",
  "conversation.workers",
]);

async function tables(): Promise<{ schema: MigratedService; name: string; secured: boolean; forced: boolean }[]> {
  const { rows } = await owner.query(
    `select n.nspname as schema, n.nspname || '.' || c.relname as name, relrowsecurity as secured, relforcerowsecurity as forced
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any($1) and c.relkind in ('r', 'p') and c.relname not like '%migrations%' order by 2`,
    [migratedServices],
  );
  return rows;
}

const usersOf = (schema: MigratedService) => (opened.get(schema) as ServiceDatabase).users;
const attempt = (work: Promise<{ rowCount: number | null }>) =>
  work.then(
    ({ rowCount }) => rowCount ?? 0,
    (error: { code?: string }) => (error.code === "42501" ? "denied" : Promise.reject(error)),
  );

describe("row security", () => {
  test("is forced on every table of every service", async () => {
    const all = await tables();
    expect(all.length).toBeGreaterThanOrEqual(15);
    expect(all.filter(({ secured, forced }) => !secured || !forced)).toEqual([]);
  });

  test("shows users only their own rows, although statements do not filter by user", async () => {
    const cells: string[] = [];
    for (const { schema, name } of await tables()) {
      const count = (userId: string) => attempt(usersOf(schema).as(userId, (db) => db.query(`select 1 from ${name}`)));
      const [hers, his] = [await count(alice), await count(bob)];
      if (shared.has(name)) expect({ name, hers, his }).toEqual({ name, hers: "denied", his: "denied" });
      else expect({ name, hers, his }).toEqual({ name, hers: 1, his: 0 });
      cells.push(name);
    }
    console.log(`row security: ${cells.length} tables, 0 rows of another user seen`);
  });

  test("lets no user change or delete another user's rows", async () => {
    for (const { schema, name } of await tables()) {
      if (shared.has(name)) continue;
      const { rows } = await owner.query<{ column: string }>(
        "select attname as column from pg_attribute where attrelid = $1::regclass and attnum = 1",
        [name],
      );
      const column = rows[0]?.column;
      for (const sql of [`update ${name} set ${column} = ${column}`, `delete from ${name}`, `select * from ${name} for update`]) {
        const reached = await attempt(usersOf(schema).transaction(bob, (tx) => tx.query(sql)));
        expect({ sql, reached: reached === "denied" ? 0 : reached }).toEqual({ sql, reached: 0 });
      }
    }
    const { rows } = await owner.query("select count(*)::int as count from conversation.messages");
    expect(rows).toEqual([{ count: 1 }]);
  });

  test("lets no user give a row to another user", async () => {
    const moved = usersOf("conversation").as(alice, (db) => db.query("update conversations set user_id = $1", [bob]));
    await expect(moved).rejects.toThrow("row-level security");
    const foreign = randomUUID();
    await owner.query("insert into conversation.conversations (id, user_id) values ($1, $2)", [foreign, bob]);
    for (const table of ["runs", "approvals"]) {
      const smuggled = usersOf("conversation").as(alice, (db) => db.query(`update ${table} set conversation_id = $1`, [foreign]));
      await expect(smuggled).rejects.toThrow("row-level security");
    }
    await owner.query("delete from conversation.conversations where id = $1", [foreign]);
    const forged = usersOf("conversation").as(bob, async (db) => {
      const { rows } = await owner.query<{ run_id: string }>("select run_id from conversation.runs");
      await db.query("insert into run_events (run_id, seq, type) values ($1, 2, 'forged')", [rows[0]?.run_id]);
    });
    await expect(forged).rejects.toThrow("row-level security");
  });

  test("shows nothing when no user is set", async () => {
    const client = new pg.Client({ connectionString: database.url, options: "-c role=turnwright_conversation_user" });
    await client.connect();
    const { rowCount } = await client.query("select 1 from conversation.conversations");
    await client.end();
    expect(rowCount).toBe(0);
  });

  test("separates users that share a connection, in and out of transactions", async () => {
    const users = usersOf("conversation");
    const sees = async (userId: string) => (await users.as(userId, (db) => db.query("select 1 from conversations"))).rowCount;
    const seesInside = async (userId: string) =>
      (await users.transaction(userId, (tx) => tx.query("select 1 from conversations"))).rowCount;
    for (let i = 0; i < 10; i++) {
      const answers = await Promise.all([sees(alice), seesInside(bob), sees(bob), seesInside(alice), sees(alice), sees(bob)]);
      expect(answers).toEqual([1, 0, 0, 1, 1, 0]);
    }
    await expect(users.transaction(bob, () => Promise.reject(new Error("rolled back")))).rejects.toThrow("rolled back");
    expect(await Promise.all([sees(alice), sees(bob), sees(alice)])).toEqual([1, 0, 1]);
  });

  test("accepts only a UUID as user", async () => {
    for (const userId of ["", "' or true --", `${alice} `]) {
      expect(() => usersOf("conversation").transaction(userId, (tx) => tx.query("select 1"))).toThrow("without a user");
      await expect(usersOf("conversation").as(userId, (db) => db.query("select 1"))).rejects.toThrow("without a user");
    }
  });

  test("keeps every service out of other schemas and from actions of owners", async () => {
    for (const [schema, { pool }] of opened) {
      for (const other of await tables()) {
        if (other.schema === schema) continue;
        expect(await attempt(pool.query(`select 1 from ${other.name}`))).toBe("denied");
      }
      for (const { name } of (await tables()).filter((one) => one.schema === schema)) {
        expect(await attempt(pool.query(`truncate ${name}`))).toBe("denied");
        await expect(pool.query(`alter table ${name} disable row level security`)).rejects.toThrow("must be owner");
      }
    }
  });

  test("lets no service change its audit log", async () => {
    for (const schema of ["auth", "conversation"] as const) {
      const pool = opened.get(schema)?.pool as pg.Pool;
      await pool.query("insert into audit_log (event) values ('{}')");
      for (const sql of ["update audit_log set event = ''", "delete from audit_log", "update audit_head set seq = 0"]) {
        expect(await attempt(pool.query(sql))).toBe("denied");
      }
    }
  });
});

describe("a database login without superuser rights", () => {
  test("is told which roles it needs, and works with them", async () => {
    const login = `turnwright_login_${randomBytes(6).toString("hex")}`;
    const own = await createTestDatabase({ services: [] });
    const name = new URL(own.url).pathname.slice(1);
    const url = new URL(own.url);
    [url.username, url.password] = [login, "test"];
    await owner.query(`create role ${login} login password 'test'`);
    await owner.query(`grant create on database ${name} to ${login}`);
    try {
      const up = () =>
        migrate({ url: url.href, service: "conversation", direction: "up", rolePrefix: "turnwright", sharesRoles: true });
      await expect(up()).rejects.toThrow("is not a member of the role turnwright_conversation; npm run db:prepare -- --print");
      await owner.query(`grant turnwright_conversation, turnwright_conversation_user to ${login}`);
      await up();
      const logger = createLogger({ service: "test", level: "silent" });
      const service = openServiceDatabase({ url: url.href, schema: "conversation", max: 2, logger });
      await service.pool.query("insert into conversations (id, user_id) values (gen_random_uuid(), $1)", [alice]);
      const sees = async (userId: string) =>
        (await service.users.as(userId, (db) => db.query("select 1 from conversations"))).rowCount;
      expect([await sees(alice), await sees(bob)]).toEqual([1, 0]);
      await service.pool.query("insert into audit_log (event) values ('{}')");
      await service.end();
    } finally {
      await own.drop();
      await owner.query(`revoke turnwright_conversation, turnwright_conversation_user from ${login}`);
      await owner.query(`drop role ${login}`);
    }
  });
});
