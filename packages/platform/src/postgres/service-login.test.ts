import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../embedded-postgres/embedded-postgres.ts";
import { createLogger } from "../logger.ts";
import { migrate, migratedServices } from "./migrations.ts";
import { openServiceDatabase } from "./service-database.ts";
import { makeServiceLogin, serviceLogin } from "./service-login.ts";

const logger = createLogger({ service: "test", level: "silent" });
// A separate server: logins belong to the whole server, and other suites use those of the shared one meanwhile.
const dataDir = mkdtempSync(join(tmpdir(), "turnwright-login-"));
const rolePrefix = "turnwright";
let postgres: EmbeddedPostgres;

beforeAll(async () => {
  chmodSync(dataDir, 0o711);
  postgres = await startEmbeddedPostgres({ dataDir, logger, settings: { fsync: "off" } });
  for (const service of migratedServices) await migrate({ url: postgres.url, service, direction: "up" });
}, 60_000);
afterAll(async () => {
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function ask<T extends pg.QueryResultRow>(url: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}
const userOf = (url: string) => new URL(url).username;

test("services that start at the same time get one working login each", async () => {
  const starts = migratedServices.flatMap((schema) => [schema, schema, schema]);
  const urls = await Promise.all(starts.map((schema) => serviceLogin({ url: postgres.url, schema, rolePrefix, logger })));
  expect([...new Set(urls.map(userOf))]).toEqual([
    "turnwright_auth_login",
    "turnwright_conversation_login",
    "turnwright_tool_login",
  ]);
  expect(new Set(urls).size).toBe(3);
  const database = openServiceDatabase({ url: urls[0] ?? "", schema: "auth", max: 2, logger });
  expect((await database.pool.query("select count(*)::int as n from users")).rows).toEqual([{ n: 0 }]);
  await database.end();
});

test.each([
  ["read another service's rows", "select 1 from conversation.messages"],
  ["take another service's role", "set role turnwright_conversation"],
  ["take the administrator's role", "set role postgres"],
  ["become somebody else", "set session authorization postgres"],
  ["make a role", "create role mallory"],
  ["read its own rows without a role", "select 1 from auth.users"],
  ["change its own schema", "alter table auth.users add column open boolean"],
  ["read files", "select pg_read_file('/etc/hostname')"],
  ["run programs", "copy (select 1) to program 'true'"],
])("a service's login cannot %s", async (_what, text) => {
  const url = await serviceLogin({ url: postgres.url, schema: "auth", rolePrefix, logger });
  await expect(ask(url, text)).rejects.toThrow(/permission denied|must be/);
});

test("a login with an outdated password gets the right one", async () => {
  await ask(postgres.url, "alter role turnwright_tool_login password 'something else'");
  const url = await serviceLogin({ url: postgres.url, schema: "tool", rolePrefix, logger });
  expect(await ask(url, "select current_user as me")).toEqual([{ me: "turnwright_tool_login" }]);
});

test("an operator's own login is used as it is, and pending migrations that it may not run are reported", async () => {
  await ask(postgres.url, "create role operator login password 'of-the-operator' noinherit");
  await ask(postgres.url, "grant turnwright_auth, turnwright_auth_user to operator");
  const url = new URL(postgres.url);
  url.username = "operator";
  url.password = "of-the-operator";
  expect(await serviceLogin({ url: url.href, schema: "auth", rolePrefix, logger })).toBe(url.href);
  await expect(migrate({ url: url.href, service: "auth", direction: "up" })).rejects.toThrow(
    /may not run them: .*run npm run migrate:up with an administrator's DATABASE_URL/,
  );
});

test("a service's own login finds its schema up to date without changing it", async () => {
  const url = await serviceLogin({ url: postgres.url, schema: "conversation", rolePrefix, logger });
  expect(await migrate({ url, service: "conversation", direction: "up" })).toEqual([]);
  expect(await serviceLogin({ url, schema: "conversation", rolePrefix, logger })).toBe(url);
});

const countUsers = "select count(*)::int as n from users";
const open = (url: string) => openServiceDatabase({ url, schema: "auth", max: 3, logger });
function as(login: string, password: string): string {
  const url = new URL(postgres.url);
  url.username = login;
  url.password = password;
  return url.href;
}

test("a new password of a login ends no connection, and opens new ones instead of the old password", async () => {
  const change = (password: string) => makeServiceLogin({ url: postgres.url, schema: "auth", password, rolePrefix });
  await change("the present password");
  const [before, after] = [
    open(as("turnwright_auth_login", "the present password")),
    open(as("turnwright_auth_login", "the next password")),
  ];
  const held = await before.pool.connect();
  try {
    await expect(after.pool.query(countUsers)).rejects.toMatchObject({ rawMessage: "the database does not answer" });
    await change("the next password");
    expect((await held.query(countUsers)).rows).toEqual([{ n: 0 }]);
    expect((await after.pool.query(countUsers)).rows).toEqual([{ n: 0 }]);
    await expect(before.pool.query(countUsers)).rejects.toMatchObject({ rawMessage: "the database does not answer" });
  } finally {
    held.release();
    await Promise.all([before.end(), after.end()]);
  }
});

test("two logins of a service alternate, so that one of them always opens connections", async () => {
  const second = "turnwright_auth_login_2";
  await ask(
    postgres.url,
    `create role ${second} login noinherit password 'the second password';
     grant turnwright_auth, turnwright_auth_user to ${second};
     grant usage on schema auth to ${second};
     grant select on auth.migrations to ${second}`,
  );
  await makeServiceLogin({ url: postgres.url, schema: "auth", password: "the first password", rolePrefix });
  const url = await serviceLogin({ url: as(second, "the second password"), schema: "auth", rolePrefix, logger });
  expect(userOf(url)).toBe(second);
  const both = [open(as("turnwright_auth_login", "the first password")), open(url)];
  try {
    for (const database of both) expect((await database.pool.query(countUsers)).rows).toEqual([{ n: 0 }]);
    await ask(postgres.url, "alter role turnwright_auth_login password null");
    expect((await both[1]?.pool.query(countUsers))?.rows).toEqual([{ n: 0 }]);
    const late = open(as("turnwright_auth_login", "the first password"));
    await expect(late.pool.query(countUsers)).rejects.toThrow();
    await late.end();
  } finally {
    await Promise.all(both.map((database) => database.end()));
  }
});
