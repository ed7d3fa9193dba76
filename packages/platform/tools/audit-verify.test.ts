import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { compiledModules } from "@turnwright/testing/compiled-modules";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const run = promisify(execFile);
let database: TestDatabase;
let db: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase({ services: ["auth", "conversation"] });
  db = new pg.Client({ connectionString: database.url });
  await db.connect();
});
afterEach(async () => {
  await db.end();
  await database.drop();
});

const append = (event: object) => db.query("insert into auth.audit_log (event) values ($1)", [JSON.stringify(event)]);

async function verify(...args: string[]): Promise<{ code: number; output: string }> {
  const env = { ...compiledModules, PATH: process.env.PATH, DATABASE_URL: database.url };
  const command = [join(import.meta.dirname, "audit-verify.ts"), ...args];
  return run(process.execPath, command, { env }).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, output: error.stdout + error.stderr }),
  );
}

/** Acts as an intruder with the owner's rights. */
async function tamper(sql: string): Promise<void> {
  await db.query("alter table auth.audit_log disable trigger user");
  await db.query(sql);
  await db.query("alter table auth.audit_log enable trigger user");
}

describe("the audit log", () => {
  test("is intact after concurrent writes, in the order of its numbers", async () => {
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const client = new pg.Client({ connectionString: database.url });
        await client.connect();
        return client;
      }),
    );
    await Promise.all(
      clients.map(async (client, i) => {
        for (let j = 0; j < 20; j++)
          await client.query("insert into auth.audit_log (event) values ($1)", [`{"n":"${i} ${j} ü"}`]);
      }),
    );
    await Promise.all(clients.map((client) => client.end()));
    const { code, output } = await verify();
    expect(output).toMatch(/auth: 100 entries, intact; head [0-9a-f]{64}\nconversation: 0 entries, intact/);
    expect(code).toBe(0);
  });

  test("accepts neither numbers nor hashes nor times from its writers", async () => {
    await db.query("insert into auth.audit_log (seq, at, event, previous_hash, hash) values (99, '2000-01-01', '{}', 'x', 'y')");
    expect((await verify()).code).toBe(0);
    const { rows } = await db.query("select seq::int, at > now() - interval '1 minute' as is_now from auth.audit_log");
    expect(rows).toEqual([{ seq: 1, is_now: true }]);
  });

  test.each(["update auth.audit_log set event = '{}'", "delete from auth.audit_log", "truncate auth.audit_log"])(
    "refuses %s",
    async (sql) => {
      await append({ a: 1 });
      await expect(db.query(sql)).rejects.toThrow("the audit log is append-only");
    },
  );

  test.each([
    ["a changed entry", "update auth.audit_log set event = '{}' where seq = 2", "BROKEN at entry 2: was changed"],
    ["a changed time", "update auth.audit_log set at = at - interval '1 hour' where seq = 2", "BROKEN at entry 2: was changed"],
    ["an entry taken out", "delete from auth.audit_log where seq = 2", "BROKEN at entry 2: entry 2 is missing"],
    ["a cut end", "delete from auth.audit_log where seq > 1", "BROKEN at entry 2: the log ends after entry 1, its head at 3"],
  ])("shows %s", async (_name, sql, message) => {
    for (let i = 1; i <= 3; i++) await append({ i });
    await tamper(sql);
    const { code, output } = await verify();
    expect(output).toContain(message);
    expect(code).toBe(1);
  });

  test("detects a rewritten log by an older head", async () => {
    for (let i = 1; i <= 3; i++) await append({ i });
    const head = /auth: .* head ([0-9a-f]{64})/.exec((await verify()).output)?.[1] ?? "";
    await append({ i: 4 });
    expect((await verify("--expect", `auth:${head}`)).code).toBe(0);
    await tamper("delete from auth.audit_log");
    await db.query("update auth.audit_head set seq = 0, hash = sha256('turnwright audit log')");
    for (let i = 1; i <= 4; i++) await append({ i: -i });
    expect((await verify()).code).toBe(0);
    const { code, output } = await verify("--expect", `auth:${head}`);
    expect(output).toContain("no entry has the expected hash");
    expect(code).toBe(1);
  });
});
