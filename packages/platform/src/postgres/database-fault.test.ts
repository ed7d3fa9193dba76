import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { compiledModules } from "@turnwright/testing/compiled-modules";
import { createTestAuthority } from "@turnwright/testing/test-certificates";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { ConfigError, loadConfig } from "../config/env.ts";
import { databaseUrl, postgresEnv } from "../config/postgres-env.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../embedded-postgres/embedded-postgres.ts";
import { createLogger } from "../logger.ts";
import { migratedServices } from "./migrations.ts";
import { openSchema } from "./open-schema.ts";
import { openServiceDatabase } from "./service-database.ts";

const logger = createLogger({ service: "test", level: "silent" });
// A separate server: it gets a certificate, and other logins.
const dir = mkdtempSync(join(tmpdir(), "turnwright-external-"));
const authority = createTestAuthority();
let postgres: EmbeddedPostgres;
let server: { DB_HOST: string; DB_PORT: string; DB_PASSWORD: string };

async function ask(url: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  chmodSync(dir, 0o711);
  postgres = await startEmbeddedPostgres({ dataDir: dir, logger, settings: { fsync: "off" } });
  const { port, password } = new URL(postgres.url);
  server = { DB_HOST: "127.0.0.1", DB_PORT: port, DB_PASSWORD: password };
  const [{ data_directory: data = "" } = {}] = (await ask(postgres.url, "show data_directory")) as { data_directory?: string }[];
  const { cert, key } = authority.issue({ dnsNames: ["localhost"] });
  const { uid, gid } = statSync(data);
  for (const [name, content] of Object.entries({ "server.crt": cert, "server.key": key })) {
    writeFileSync(join(data, name), content, { mode: 0o600 });
    chownSync(join(data, name), uid, gid);
  }
  writeFileSync(join(dir, "ca.crt"), authority.cert);
  writeFileSync(join(dir, "other.crt"), createTestAuthority().cert);
}, 60_000);
afterAll(async () => {
  await postgres?.stop();
  rmSync(dir, { recursive: true, force: true });
});

function open(env: Record<string, string>) {
  const config = loadConfig(z.object(postgresEnv), env);
  return openSchema({ config, url: databaseUrl(config) ?? "", schema: "auth", logger });
}

async function faultOf(env: Record<string, string>): Promise<string> {
  const error = await open(env).catch((thrown: unknown) => thrown);
  if (!(error instanceof ConfigError)) throw new Error("no ConfigError", { cause: error });
  expect(error.faults).toHaveLength(1);
  return error.faults[0] ?? "";
}

async function encrypted(url: string): Promise<unknown> {
  return (await ask(url, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"))[0]?.ssl;
}

/** Runs the tool as its npm script does. */
async function prepareTool(env: Record<string, string>, ...args: string[]) {
  const program = join(import.meta.dirname, "../../tools/db-prepare.ts");
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...compiledModules, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, out, err };
}

describe("a fault of the configured database is one sentence with the variables to change:", () => {
  test.each<[string, Record<string, string>, RegExp]>([
    [
      "a wrong password",
      { DB_PASSWORD: "wrong" },
      /^DB_USER, DB_PASSWORD: PostgreSQL at 127\.0\.0\.1:\d+ refused the login postgres: wrong/,
    ],
    ["an unknown login", { DB_USER: "nobody" }, /^DB_USER, DB_PASSWORD: .* refused the login nobody: .*no such login$/],
    ["a missing database", { DB_NAME: "absent" }, /^DB_NAME: .* has no database absent; create it, or see npm run db:prepare/],
    [
      "TLS that the server lacks",
      { DB_NAME: "turnwright", DB_SSL_MODE: "require" },
      /^DB_SSL_MODE: .* has no TLS; set it to disable/,
    ],
    ["a host without a name", { DB_HOST: "nowhere.invalid" }, /^DB_HOST: the host nowhere\.invalid is unknown$/],
    [
      "a socket that is not there",
      { DB_HOST: "/nowhere" },
      /^DB_HOST, DB_PORT: no PostgreSQL accepts connections at the socket in \/nowhere$/,
    ],
  ])("%s", async (_what, env, sentence) => {
    expect(await faultOf({ ...server, ...env })).toMatch(sentence);
  });

  test("the same faults in a URL name DATABASE_URL and never the password", async () => {
    const url = new URL(postgres.url);
    url.password = "a-wrong-secret";
    const fault = await faultOf({ DATABASE_URL: url.href });
    expect(fault).toMatch(/^DATABASE_URL: PostgreSQL at 127\.0\.0\.1:\d+ refused the login postgres: /);
    expect(fault).not.toContain("secret");
    expect(await faultOf({ DATABASE_URL: `${postgres.url}?sslrootcert=/nowhere` })).toMatch(/^DATABASE_URL: ENOENT.*\/nowhere/);
  });

  test("a login that may not connect, one without roles, and one that owns nothing", async () => {
    await ask(
      postgres.url,
      "create role weak login password 'weak'",
      "create database closed",
      "revoke all on database closed from public",
    );
    const weak = { ...server, DB_USER: "weak", DB_PASSWORD: "weak" };
    expect(await faultOf({ ...weak, DB_NAME: "closed" })).toMatch(
      /^DB_USER: the login weak lacks a right: .*database "closed".*db:prepare/,
    );
    expect(await faultOf({ ...weak, DB_NAME: "turnwright" })).toMatch(
      /^DB_USER: the role turnwright_auth is missing and the login weak may not create it; npm run db:prepare/,
    );
  });

  test("nothing that listens is told at once, while the start waits for it", async () => {
    const told: string[] = [];
    const listening = createLogger({ service: "test", level: "warn", destination: { write: (line) => void told.push(line) } });
    const config = loadConfig(z.object(postgresEnv), { ...server, DB_PORT: "1" });
    const started = openSchema({ config, url: databaseUrl(config) ?? "", schema: "auth", logger: listening, patienceMs: 300 });
    await expect(started).rejects.toThrow(/DB_HOST, DB_PORT: no PostgreSQL accepts connections at 127\.0\.0\.1:1/);
    expect(told).toHaveLength(1);
    expect(JSON.parse(told[0] ?? "")).toMatchObject({ cause: expect.stringMatching(/^DB_HOST, DB_PORT: no PostgreSQL accepts/) });
    expect(told[0]).not.toContain("stack");
  });
});

describe("a login without superuser rights", () => {
  const password = "a/b#c?d@e:f%g'h\"i j";
  const login = { DB_USER: "shop owner", DB_PASSWORD: password, DB_NAME: "shop" };

  test("suffices after the printed page has run, and each service has a login of its own", async () => {
    const printed = await prepareTool({ ...login }, "--print");
    expect(printed).toMatchObject({ code: 0, err: "" });
    expect(printed.out.split("\n").length).toBeLessThan(40);
    expect(printed.out).not.toContain(password);
    await ask(postgres.url, "create role administrator login createdb createrole password 'administrator'");
    const administrator = new URL(postgres.url);
    [administrator.username, administrator.password, administrator.pathname] = ["administrator", "administrator", "/postgres"];
    // One statement at a time, as psql does.
    const statements = printed.out.replaceAll(/^--.*$/gm, "").split(/;\n(?=alter|grant|create|revoke|$)/);
    await ask(administrator.href, ...statements.filter((statement) => statement.trim() !== ""));
    for (const schema of migratedServices) {
      const config = loadConfig(z.object(postgresEnv), { ...server, ...login });
      const access = await openSchema({ config, url: databaseUrl(config) ?? "", schema, logger });
      expect(decodeURIComponent(new URL(access.url).username)).toBe(`turnwright_shop_${schema}_login`);
      const database = openServiceDatabase({ ...access, schema, max: 2, logger });
      expect((await database.pool.query("select current_user as me")).rows).toEqual([{ me: `turnwright_shop_${schema}` }]);
      await database.end();
    }
    const rights = await ask(
      postgres.url,
      "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = 'shop owner'",
    );
    expect(rights).toEqual([{ rolsuper: false, rolcreaterole: false, rolcreatedb: false }]);
  });

  test("can have any password in every form of the configuration", async () => {
    const address = `127.0.0.1:${server.DB_PORT}/shop`;
    const user = "shop%20owner";
    const forms: Record<string, string>[] = [
      { ...server, ...login },
      { DATABASE_URL: `postgres://${user}:${encodeURIComponent(password)}@${address}` },
      { DATABASE_URL: `postgres://${user}:${password}@${address}` },
    ];
    for (const env of forms) {
      expect(new URL((await open(env)).url).username).toBe("turnwright_shop_auth_login");
    }
  });

  test("is made by the tool itself with an administrator's login, as often as it runs", async () => {
    const env = { ...server, DB_USER: "bank", DB_PASSWORD: password, DB_NAME: "bank", DB_ADMIN_USER: "administrator" };
    expect(await prepareTool({ ...env, DB_ADMIN_PASSWORD: "wrong" })).toMatchObject({
      code: 1,
      err: expect.stringMatching(/- DB_ADMIN_USER, DB_ADMIN_PASSWORD: PostgreSQL at .* refused the login administrator/),
    });
    for (const _ of [1, 2]) {
      expect(await prepareTool({ ...env, DB_ADMIN_PASSWORD: "administrator" })).toMatchObject({ code: 0, err: "" });
    }
    expect((await open({ ...server, DB_USER: "bank", DB_PASSWORD: password, DB_NAME: "bank" })).rolePrefix).toBe(
      "turnwright_bank",
    );
    // The other installation's owner gets no connection to it.
    expect(await faultOf({ ...server, ...login, DB_NAME: "bank" })).toMatch(/^DB_USER: the login shop owner lacks a right: /);
  });
});

describe("TLS to PostgreSQL", () => {
  beforeAll(async () => {
    await ask(postgres.url, "alter system set ssl = on", "select pg_reload_conf()");
    await vi.waitFor(async () => expect(await ask(postgres.url, "show ssl")).toEqual([{ ssl: "on" }]));
  });
  const local = () => ({ ...server, DB_HOST: "localhost", DB_NAME: "turnwright" });
  const ca = (name: string) => ({ DB_SSL_ROOT_CERT: join(dir, name) });

  test("encrypts every connection, the service's own as well", async () => {
    expect(await encrypted((await open(local())).url)).toBe(false);
    const modes: Record<string, string>[] = [
      { DB_SSL_MODE: "require" },
      { DB_SSL_MODE: "verify-ca", ...ca("ca.crt") },
      { DB_SSL_MODE: "verify-ca", ...ca("ca.crt"), DB_HOST: "127.0.0.1" },
      { DB_SSL_MODE: "verify-full", ...ca("ca.crt") },
    ];
    for (const env of modes) {
      const { url } = await open({ ...local(), ...env });
      expect(new URL(url).username).toBe("turnwright_auth_login");
      expect(await encrypted(url)).toBe(true);
    }
  });

  test.each<[string, Record<string, string>, string, RegExp]>([
    [
      "an unknown authority",
      { DB_SSL_MODE: "verify-full" },
      "",
      /^DB_SSL_MODE, DB_SSL_ROOT_CERT: TLS to PostgreSQL at localhost:\d+ failed: /,
    ],
    [
      "another authority",
      { DB_SSL_MODE: "verify-ca" },
      "other.crt",
      /^DB_SSL_MODE, DB_SSL_ROOT_CERT: TLS to PostgreSQL at localhost:\d+ failed: /,
    ],
    [
      "another name",
      { DB_SSL_MODE: "verify-full", DB_HOST: "127.0.0.1" },
      "ca.crt",
      /^DB_SSL_MODE, DB_SSL_ROOT_CERT: .*IP: 127\.0\.0\.1/,
    ],
  ])("refuses a certificate of %s", async (_what, env, file, sentence) => {
    expect(await faultOf({ ...local(), ...env, ...(file === "" ? {} : ca(file)) })).toMatch(sentence);
  });
});
