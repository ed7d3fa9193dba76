import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import pg from "pg";
import type { Logger } from "../logger.ts";
import type { MigratedService } from "./migrations.ts";

/** Name of a service's login, which may take the roles of its own schema and has no rights of its own. */
export function loginOf(schema: MigratedService): string {
  return `turnwright_${schema}_login`;
}

/**
 * A password in the form in which PostgreSQL stores it (SCRAM-SHA-256, RFC 5803), so that the password itself appears
 * in no statement and no log. For ASCII passwords only; others would have to be normalised first.
 */
function scramVerifier(password: string): string {
  const iterations = 4_096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const keyOf = (name: string) => createHmac("sha256", salted).update(name).digest();
  const stored = createHash("sha256").update(keyOf("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${keyOf("Server Key").toString("base64")}`;
}

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
async function serves(url: string, schema: MigratedService): Promise<boolean> {
  try {
    return await connected(url, async (client) => {
      await client.query(`select name from ${schema}.migrations limit 1`);
      await client.query(`set role turnwright_${schema}`);
      return true;
    });
  } catch {
    return false;
  }
}

const alreadyThere: ReadonlySet<unknown> = new Set(["42710", "23505"]);

/**
 * Creates the login with this password, or changes its password. The login in `url` must be allowed to create roles.
 */
export async function makeServiceLogin(url: string, schema: MigratedService, password: string): Promise<void> {
  const login = loginOf(schema);
  const attributes = `login nosuperuser nocreatedb nocreaterole noinherit nobypassrls password '${scramVerifier(password)}'`;
  await connected(url, async (client) => {
    await client.query(`create role ${login} ${attributes}`).catch(async (error: unknown) => {
      if (!(error instanceof Error && "code" in error && alreadyThere.has(error.code))) throw error;
      await client.query(`alter role ${login} ${attributes}`);
    });
    await client.query(`grant turnwright_${schema}, turnwright_${schema}_user to ${login}`);
    // The service checks whether its schema is up to date, and does not change it.
    await client.query(`grant usage on schema ${schema} to ${login}`);
    await client.query(`grant select on ${schema}.migrations to ${login}`);
  });
}

/** Attempts to create a login: other processes that start at the same time may be creating it too. */
const tries = 5;

/**
 * Returns the URL of the database under the service's own login, and creates the login if it is missing. Its password
 * is derived from that of the given login, so replicas agree on it and services cannot know each other's. Returns the
 * given URL when it has no password to derive from, when its login may not create roles (an operator's own login for
 * this service), or when something in between (a pooler) knows no other logins. Call it after the schema is migrated.
 */
export async function serviceLogin(options: { url: string; schema: MigratedService; logger: Logger }): Promise<string> {
  const { url, schema, logger } = options;
  if (!URL.canParse(url)) return url;
  const own = new URL(url);
  if (own.password === "" || own.username === loginOf(schema)) return url;
  const password = createHmac("sha256", decodeURIComponent(own.password)).update(`turnwright login ${schema}`).digest("hex");
  own.username = loginOf(schema);
  own.password = password;
  let failure: unknown;
  for (let attempt = 0; attempt < tries; attempt++) {
    if (await serves(own.href, schema)) return own.href;
    try {
      const mayCreate = await connected(url, async (client) => {
        const { rows } = await client.query<{ may: boolean }>(
          "select rolsuper or rolcreaterole as may from pg_roles where rolname = current_user",
        );
        return rows[0]?.may === true;
      });
      if (!mayCreate) return url;
      await makeServiceLogin(url, schema, password);
    } catch (error) {
      failure = error;
    }
  }
  logger.warn({ err: failure, schema }, "the service uses the configured database login: it could not create its own");
  return url;
}
