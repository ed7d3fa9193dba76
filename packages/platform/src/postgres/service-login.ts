import { createHmac } from "node:crypto";
import pg from "pg";
import type { Logger } from "../logger.ts";
import type { MigratedService } from "./migrations.ts";
import type { OnConnected } from "./pooler-check.ts";
import { scramVerifier } from "./scram.ts";
import { serviceRoles, standardPrefix } from "./service-roles.ts";

async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, application_name: "turnwright-login" });
  // Without this listener, a connection that dies between two statements would end the process.
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** Whether a login can connect and has the rights it needs. */
async function serves(
  url: string,
  { schema, role, onServing }: { schema: MigratedService; role: string; onServing?: OnConnected },
): Promise<boolean> {
  try {
    return await connected(url, async (client) => {
      await client.query(`select name from ${schema}.migrations limit 1`);
      // For this statement alone: a pooler hands the backend to others.
      await client.query("select set_config('role', $1, true)", [role]);
      await onServing?.(client, url);
      return true;
    });
  } catch {
    return false;
  }
}

const alreadyThere: ReadonlySet<unknown> = new Set(["42710", "23505"]);

/** Whether the connected login may create roles, and whether this one is there. */
async function standing(client: pg.Client, login: string): Promise<{ may: boolean; isThere: boolean }> {
  const { rows } = await client.query<{ may: boolean; isThere: boolean }>(
    `select rolsuper or rolcreaterole as may, exists (select from pg_roles where rolname = $1) as "isThere"
     from pg_roles where rolname = current_user`,
    [login],
  );
  return rows[0] ?? { may: false, isThere: false };
}

/**
 * Creates the login with this password, or changes its password. Without a password, or if the login in `url` may not
 * create roles, it only lets a login in that an administrator has made; the login in `url` must own the schema.
 */
export async function makeServiceLogin(options: {
  url: string;
  schema: MigratedService;
  password: string | undefined;
  rolePrefix: string;
}): Promise<void> {
  const { url, schema, password } = options;
  const { service, user, login } = serviceRoles(options.rolePrefix, schema);
  await connected(url, async (client) => {
    const { may, isThere } = await standing(client, login);
    if (password === undefined && !isThere) return;
    if (password !== undefined && (may || !isThere)) {
      const attributes = `login noinherit password '${scramVerifier(password)}'`;
      await client.query(`create role ${login} ${attributes}`).catch(async (error: unknown) => {
        if (!(error instanceof Error && "code" in error && alreadyThere.has(error.code))) throw error;
        await client.query(`alter role ${login} ${attributes}`);
        // Rights that somebody has given it. Only a superuser may take these, or may have given them.
        const { rows } = await client.query("select from pg_roles where rolname = current_user and rolsuper");
        if (rows.length > 0) await client.query(`alter role ${login} nosuperuser nocreatedb nocreaterole nobypassrls`);
      });
      await client.query(`grant ${service}, ${user} to ${login}`);
    }
    await admit(client, schema, login);
  });
}

/** Lets a login check whether its schema is up to date; it may not change the schema. */
async function admit(client: pg.Client, schema: MigratedService, login: string): Promise<void> {
  await client.query(`grant usage on schema ${schema} to ${login}`);
  await client.query(`grant select on ${schema}.migrations to ${login}`);
}

/**
 * The password of a service's login, derived from that of the installation's login: replicas agree on it, and services
 * and installations cannot know each other's.
 */
export function loginPassword(password: string, schema: MigratedService, rolePrefix: string): string {
  const name = rolePrefix === standardPrefix ? schema : serviceRoles(rolePrefix, schema).login;
  return createHmac("sha256", password).update(`turnwright login ${name}`).digest("hex");
}

/** Attempts to create a login: other processes that start at the same time may be creating it too. */
const tries = 5;

/**
 * Returns the URL of the database under the service's own login. Creates the login if it is missing and the given login
 * may create roles. Returns the given URL when it has no password to derive from, when the service's login is missing
 * and cannot be created (an operator's own login for this service), or when something in between (a pooler) knows no
 * other logins. Call it after the schema is migrated.
 */
export async function serviceLogin(options: {
  url: string;
  schema: MigratedService;
  rolePrefix: string;
  logger: Logger;
  /** Called with the connection that has shown that the service's own login serves. */
  onServing?: OnConnected;
}): Promise<string> {
  const { url, schema, rolePrefix, logger, onServing } = options;
  if (!URL.canParse(url)) return url;
  const own = new URL(url);
  const roles = serviceRoles(rolePrefix, schema);
  if (own.password === "" || own.username === roles.login) return url;
  const password = loginPassword(decodeURIComponent(own.password), schema, rolePrefix);
  own.username = roles.login;
  own.password = password;
  let failure: unknown;
  for (let attempt = 0; attempt < tries; attempt++) {
    if (await serves(own.href, { schema, role: roles.service, onServing })) return own.href;
    try {
      const { may, isThere } = await connected(url, (client) => standing(client, roles.login));
      if (may) await makeServiceLogin({ url, schema, password, rolePrefix });
      else if (!isThere || attempt > 0) return url;
      // An administrator has made the login; the tables belong to the given one.
      else await connected(url, (client) => admit(client, schema, roles.login));
    } catch (error) {
      failure = error;
    }
  }
  logger.warn({ err: failure, schema }, "the service uses the configured database login: it could not create its own");
  return url;
}
