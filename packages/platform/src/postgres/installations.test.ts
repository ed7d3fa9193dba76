import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { loadConfig } from "../config/env.ts";
import { postgresEnv } from "../config/postgres-env.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../embedded-postgres/embedded-postgres.ts";
import { createLogger } from "../logger.ts";
import { type MigratedService, migrate, migratedServices } from "./migrations.ts";
import { openSchema } from "./open-schema.ts";
import { createsDatabase, preparation } from "./preparation.ts";
import { openServiceDatabase } from "./service-database.ts";
import { loginPassword } from "./service-login.ts";
import { prefixOfDatabase, serviceRoles } from "./service-roles.ts";

const logger = createLogger({ service: "test", level: "silent" });
// A separate server: roles belong to the whole server.
const dataDir = mkdtempSync(join(tmpdir(), "turnwright-installations-"));
let postgres: EmbeddedPostgres;

beforeAll(async () => {
  chmodSync(dataDir, 0o711);
  postgres = await startEmbeddedPostgres({ dataDir, logger, settings: { fsync: "off" } });
}, 60_000);
afterAll(async () => {
  await postgres?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function ask<T extends pg.QueryResultRow>(url: string, ...texts: string[]): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: T[] = [];
    for (const text of texts) rows = (await client.query<T>(text)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

function inDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function createDatabase(name: string): Promise<string> {
  await ask(postgres.url, `create database "${name}"`);
  return inDatabase(postgres.url, encodeURIComponent(name));
}

function open(url: string, schema: MigratedService = "auth", env: Record<string, string> = {}) {
  const config = loadConfig(z.object(postgresEnv), { DATABASE_URL: url, ...env });
  return openSchema({ config, url, schema, logger });
}

/** Migrates a database as releases did whose role names had no prefix of the installation. */
async function migrateUnprefixed(url: string): Promise<void> {
  for (const service of migratedServices) {
    await migrate({ url, service, direction: "up", rolePrefix: "turnwright", sharesRoles: true });
  }
}

const addUser = `insert into auth.users (id, email, password_hash, name)
  values (gen_random_uuid(), 'a@b.c', 'the hash', 'A')`;

/** The answer of an installation's database to the auth service of another. */
async function readAcross(login: string, role: string, database: string): Promise<unknown> {
  return ask(inDatabase(login, database), `set role ${role}`, "select password_hash from auth.users").catch(
    (error: Error) => error.message,
  );
}

describe("two installations on one server", () => {
  test("cannot read each other's password hashes", async () => {
    const urls = await Promise.all(["shop", "bank"].map(createDatabase));
    const [shop, bank] = await Promise.all(urls.map((url) => open(url)));
    expect([shop?.rolePrefix, bank?.rolePrefix]).toEqual(["turnwright_shop", "turnwright_bank"]);
    await ask(urls[1] ?? "", addUser);
    const hashes = [{ password_hash: "the hash" }];
    expect(await readAcross(bank?.url ?? "", "turnwright_bank_auth", "bank")).toEqual(hashes);
    expect(await readAcross(shop?.url ?? "", "turnwright_shop_auth", "bank")).toMatch(/permission denied/);
    expect(await readAcross(shop?.url ?? "", "turnwright_bank_auth", "bank")).toMatch(/permission denied/);
    // The password of one installation's login is not that of the other's.
    const disguised = new URL(shop?.url ?? "");
    disguised.username = new URL(bank?.url ?? "").username;
    await expect(ask(disguised.href, "select 1")).rejects.toThrow(/password authentication failed/);
  });

  test("that shared their roles before are separated at the next start, without loss", async () => {
    const urls = await Promise.all(["older", "other"].map(createDatabase));
    for (const url of urls) await migrateUnprefixed(url);
    await Promise.all(urls.map((url) => ask(url, addUser)));
    const shared = await ask<{ password_hash: string }>(
      urls[1] ?? "",
      "set role turnwright_auth",
      "select password_hash from auth.users",
    );
    expect(shared).toHaveLength(1);
    // Replicas that start at the same time agree.
    const moved = await Promise.all([1, 2, 3].map(() => open(urls[0] ?? "")));
    expect(new Set(moved.map(({ rolePrefix }) => rolePrefix))).toEqual(new Set(["turnwright_older"]));
    for (const schema of migratedServices) await open(urls[0] ?? "", schema);
    const kept = await open(urls[1] ?? "");
    expect(kept.rolePrefix).toBe("turnwright");
    expect(await readAcross(kept.url, "turnwright_auth", "other")).toHaveLength(1);
    expect(await readAcross(kept.url, "turnwright_auth", "older")).toMatch(/permission denied/);
    const database = openServiceDatabase({ ...(await open(urls[0] ?? "")), schema: "auth", max: 2, logger });
    expect((await database.pool.query("select password_hash from users")).rowCount).toBe(1);
    await database.end();
    for (const schema of migratedServices) {
      const { service, user, login } = serviceRoles("turnwright", schema);
      const left = await ask(
        urls[0] ?? "",
        `select 1 from pg_shdepend d join pg_roles r on r.oid = d.refobjid join pg_database o on o.oid = d.dbid
         where o.datname = current_database() and r.rolname in ('${service}', '${user}', '${login}')`,
      );
      expect({ schema, left }).toEqual({ schema, left: [] });
    }
  });

  test("that share roles under a login without superuser rights start once an administrator has prepared the server", async () => {
    const urls = await Promise.all(["leased", "neighbour"].map(createDatabase));
    for (const url of urls) await migrateUnprefixed(url);
    const [url = ""] = urls;
    await ask(url, addUser);
    // As releases without prefixes needed it: the owner of everything, and a member of the roles.
    const owns = migratedServices.flatMap((schema) => [
      `alter schema ${schema} owner to tenant`,
      `do $$ declare name text; begin
         for name in select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname = '${schema}' and c.relkind = 'r' loop execute 'alter table ' || name || ' owner to tenant'; end loop;
       end $$`,
      `grant ${serviceRoles("turnwright", schema).service}, ${serviceRoles("turnwright", schema).user} to tenant`,
    ]);
    await ask(url, "create role tenant login password 'tenant'", "alter database leased owner to tenant", ...owns);
    const own = new URL(url);
    [own.username, own.password] = ["tenant", "tenant"];
    await expect(open(own.href)).rejects.toThrow(
      /the role turnwright_leased_auth is missing and the login tenant may not create it; npm run db:prepare/,
    );
    const loginPasswords = { auth: "", conversation: "", tool: "" };
    for (const schema of migratedServices) loginPasswords[schema] = loginPassword("tenant", schema, "turnwright_leased");
    const owner = { name: "tenant", password: "tenant" };
    const statements = preparation({ owner, database: "leased", rolePrefix: "turnwright_leased", loginPasswords });
    await ask(postgres.url, ...statements.filter((statement) => !createsDatabase(statement)));
    for (const schema of migratedServices) {
      const access = await open(own.href, schema);
      expect(new URL(access.url).username).toBe(`turnwright_leased_${schema}_login`);
    }
    expect(await readAcross((await open(own.href)).url, "turnwright_leased_auth", "leased")).toEqual([
      { password_hash: "the hash" },
    ]);
    expect(await readAcross(postgres.url, "turnwright_auth", "leased")).toMatch(/permission denied/);
  });

  test("that an administrator has prepared run every service under a login and a password of its own", async () => {
    const loginPasswords = { auth: "of auth alone ☃", conversation: "of conversation alone", tool: "of tool alone, 'quoted'" };
    const owner = { name: "installer", password: "the installer's" };
    await ask(postgres.url, ...preparation({ owner, database: "handed", rolePrefix: "handed", loginPasswords }));
    const own = new URL(inDatabase(postgres.url, "handed"));
    [own.username, own.password] = [owner.name, owner.password].map(encodeURIComponent) as [string, string];
    // A second time with the passwords that db:prepare was given: the owner may not set them, and need not.
    for (const passwords of [{}, { DB_AUTH_PASSWORD: "of somebody else", DB_TOOL_PASSWORD: loginPasswords.tool }]) {
      const env = { DATABASE_URL: own.href, DB_ROLE_PREFIX: "handed", ...passwords };
      const program = join(import.meta.dirname, "../../tools/migrate.ts");
      const child = spawn(process.execPath, [program, "up"], { env, stdio: ["ignore", "ignore", "pipe"] });
      const [err] = await Promise.all([text(child.stderr), once(child, "close")]);
      expect({ code: child.exitCode, err }).toEqual({ code: 0, err: "" });
    }
    for (const schema of migratedServices) {
      const { login, service } = serviceRoles("handed", schema);
      const url = new URL(own);
      [url.username, url.password] = [login, loginPasswords[schema]].map(encodeURIComponent) as [string, string];
      const access = await open(url.href, schema, { DB_ROLE_PREFIX: "handed" });
      expect(new URL(access.url).username).toBe(login);
      expect(await ask(access.url, `set role ${service}`, "select current_user as name")).toEqual([{ name: service }]);
    }
    const mighty = "select rolsuper or rolcreaterole or rolcreatedb as may from pg_roles where rolname = 'installer'";
    expect(await ask(postgres.url, mighty)).toEqual([{ may: false }]);
  });

  test("have exactly the same rights and policies, whether their roles moved or were made with their names", async () => {
    const fresh = await createDatabase("fresh");
    const walked = await createDatabase("walked");
    await migrateUnprefixed(walked);
    for (const schema of migratedServices) {
      await open(fresh, schema, { DB_ROLE_PREFIX: "made" });
      await open(walked, schema, { DB_ROLE_PREFIX: "gone" });
    }
    const rights = `select c.oid::regclass::text as object, a.privilege_type as what, coalesce(r.rolname, 'public') as role
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
        where n.nspname in ('auth', 'conversation', 'tool')
      union all select t.attrelid::regclass || '.' || t.attname, a.privilege_type, r.rolname
        from pg_attribute t, aclexplode(t.attacl) a join pg_roles r on r.oid = a.grantee
      union all select n.nspname, a.privilege_type, r.rolname from pg_namespace n, aclexplode(n.nspacl) a join pg_roles r on r.oid = a.grantee
        where n.nspname in ('auth', 'conversation', 'tool')
      union all select schemaname || '.' || tablename || ' ' || policyname, cmd, array_to_string(roles, ',') from pg_policies
      order by 1, 2, 3`;
    const told = async (url: string) => JSON.stringify(await ask(url, rights), null, 1);
    const [ofFresh, ofWalked] = await Promise.all([told(fresh), told(walked)]);
    expect(ofWalked.replaceAll("gone_", "made_").split("\n").sort()).toEqual(ofFresh.split("\n").sort());
    expect(ofFresh).toContain("made_conversation_user");
  });

  test("are refused the same prefix", async () => {
    const [first = "", second = ""] = await Promise.all(["first", "second"].map(createDatabase));
    await open(first, "auth", { DB_ROLE_PREFIX: "same" });
    await expect(open(second, "auth", { DB_ROLE_PREFIX: "same" })).rejects.toThrow(
      /DB_ROLE_PREFIX: the role same_auth(_user)? belongs to the database first; set DB_ROLE_PREFIX/,
    );
    expect(await open(first, "auth", { DB_ROLE_PREFIX: "same" })).toMatchObject({ rolePrefix: "same" });
    expect(await open(first, "auth")).toMatchObject({ rolePrefix: "same" });
  });

  test("have different prefixes, whatever their databases are called", () => {
    const names = [
      "a",
      "A",
      "a b",
      "a-b",
      "a_b",
      "a_auth",
      "ä",
      "x".repeat(63),
      `${"x".repeat(62)}y`,
      "1",
      "",
      'q"uote',
      "turnwright",
    ];
    const prefixes = names.map(prefixOfDatabase);
    expect(new Set(prefixes).size).toBe(names.length);
    for (const prefix of prefixes) {
      expect(prefix).toMatch(/^[a-z][a-z0-9_]{0,42}$/);
      expect(serviceRoles(prefix, "conversation").login.length).toBeLessThan(64);
    }
    // A database cannot be given the name that another one's hash leads to.
    expect(prefixOfDatabase(prefixOfDatabase("A").slice("turnwright_".length))).not.toBe(prefixOfDatabase("A"));
  });
});
