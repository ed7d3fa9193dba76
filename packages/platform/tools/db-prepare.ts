import pg from "pg";
import { ConfigError, loadConfig } from "../src/config/env.ts";
import { databaseUrl } from "../src/config/postgres-env.ts";
import { explainDatabaseFault } from "../src/postgres/database-fault.ts";
import { migratedServices } from "../src/postgres/migrations.ts";
import { createsDatabase, type Preparation, preparation, preparationPage } from "../src/postgres/preparation.ts";
import { loginPassword } from "../src/postgres/service-login.ts";
import { prefixOfDatabase } from "../src/postgres/service-roles.ts";
import { reportStartFailure } from "../src/process/lifecycle.ts";
import { type DatabaseToolConfig, databaseToolConfig } from "./configured-database.ts";

/** The URL of the installation's login; a server's address is not needed to print. */
function installationUrl(config: DatabaseToolConfig): URL {
  return new URL(databaseUrl(config) ?? databaseUrl({ ...config, DB_HOST: "localhost" }) ?? "");
}

/** Throws ConfigError when the names or the password do not suffice. */
function planOf(config: DatabaseToolConfig): Preparation {
  const url = installationUrl(config);
  const [name, password, database] = [url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent);
  const faults: string[] = [];
  const isUrl = config.DATABASE_URL !== undefined;
  if (!name || name === "postgres" || name === config.DB_ADMIN_USER) {
    faults.push(`${isUrl ? "DATABASE_URL" : "DB_USER"}: name a login of the installation's own, such as turnwright`);
  }
  if (!password || password === "postgres") {
    faults.push(`${isUrl ? "DATABASE_URL" : "DB_PASSWORD"}: set the password of the installation's login`);
  }
  if (!database) faults.push(`${isUrl ? "DATABASE_URL" : "DB_NAME"}: name the database`);
  if (faults.length > 0 || !name || !password || !database) throw new ConfigError(faults);
  const rolePrefix = config.DB_ROLE_PREFIX ?? prefixOfDatabase(database);
  const own = {
    auth: config.DB_AUTH_PASSWORD,
    conversation: config.DB_CONVERSATION_PASSWORD,
    tool: config.DB_TOOL_PASSWORD,
  };
  const loginPasswords = { auth: "", conversation: "", tool: "" };
  for (const schema of migratedServices) loginPasswords[schema] = own[schema] ?? loginPassword(password, schema, rolePrefix);
  return { owner: { name, password }, database, rolePrefix, loginPasswords };
}

/** Prepares the server as the administrator. */
async function prepare(config: DatabaseToolConfig): Promise<void> {
  if (databaseUrl(config) === undefined) {
    throw new ConfigError([
      "DB_HOST: set it, or DATABASE_URL, to the PostgreSQL server to prepare; the embedded one needs nothing",
    ]);
  }
  if (config.DB_ADMIN_USER === undefined) {
    throw new ConfigError([
      "DB_ADMIN_USER: set it and DB_ADMIN_PASSWORD to an administrator's login, or send them the output of npm " +
        "run db:prepare -- --print",
    ]);
  }
  const plan = planOf(config);
  const url = installationUrl(config);
  url.username = encodeURIComponent(config.DB_ADMIN_USER);
  url.password = encodeURIComponent(config.DB_ADMIN_PASSWORD ?? "");
  url.pathname = "/postgres";
  const administrator = { ...config, DATABASE_URL: undefined, DB_HOST: url.hostname, DB_PORT: Number(url.port || 5432) };
  try {
    const client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 5_000 });
    client.on("error", () => {});
    await client.connect();
    try {
      for (const statement of preparation(plan)) {
        await client.query(statement).catch((error: unknown) => {
          const isThere = createsDatabase(statement) && error instanceof Error && "code" in error && error.code === "42P04";
          if (!isThere) throw error;
        });
      }
    } finally {
      await client.end();
    }
  } catch (error) {
    const names = { DB_USER: config.DB_ADMIN_USER, DB_NAME: "postgres" };
    const fault = explainDatabaseFault(error, { ...administrator, ...names });
    throw fault === undefined
      ? error
      : new ConfigError(
          fault.faults.map((line) => line.replace(/^DB_(USER|PASSWORD)(, DB_PASSWORD)?:/, "DB_ADMIN_USER, DB_ADMIN_PASSWORD:")),
        );
  }
  const { owner, database, rolePrefix } = plan;
  console.log(`The database ${database} is ready for the login ${owner.name}; its roles begin with ${rolePrefix}_.`);
}

async function main(args: readonly string[]): Promise<void> {
  const config = loadConfig(databaseToolConfig);
  const [flag, ...rest] = args;
  if (rest.length > 0 || (flag !== undefined && flag !== "--print")) {
    throw new ConfigError([`${args.join(" ")}: usage: npm run db:prepare, or npm run db:prepare -- --print`]);
  }
  if (flag === "--print") process.stdout.write(preparationPage(planOf(config)));
  else await prepare(config);
}

await main(process.argv.slice(2)).catch(reportStartFailure);
