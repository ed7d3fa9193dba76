import { readFile } from "node:fs/promises";
import type { MigrationBuilder } from "node-pg-migrate";
import type pg from "pg";
import { schemaLocks } from "../../../../migrations/schemas.ts";
import { withRolePrefix } from "./service-roles.ts";

/**
 * Runs up to `count` migrations of a folder, each in a transaction that holds the schema's lock, so that they run
 * through a pooler as well. A process that starts at the same time waits for each of them and finds it done. Nothing
 * stays set in the session. Returns the names that ran, in order.
 */
export async function runMigrations(options: {
  client: pg.Client;
  schema: keyof typeof schemaLocks;
  direction: "up" | "down";
  count: number;
  /** Has the pairs of SQL files. */
  dir: string;
  rolePrefix: string;
  log: (detail: string) => void;
}): Promise<string[]> {
  const { client, schema, direction, dir, log } = options;
  // Most starts find nothing to migrate, and need not load the runner.
  const { runner } = await import("node-pg-migrate");
  const names: string[] = [];
  const loader = loaderFor(options.rolePrefix);
  while (names.length < options.count) {
    await client.query("begin");
    try {
      await client.query("select pg_advisory_xact_lock($1), set_config('search_path', $2, true)", [schemaLocks[schema], schema]);
      const ran = await runner({
        dbClient: client,
        dir,
        direction,
        count: 1,
        migrationsSchema: schema,
        createMigrationsSchema: true,
        migrationsTable: "migrations",
        noLock: true,
        migrationLoaderStrategies: [{ extensions: [".sql"], loader }],
        logger: { debug: log, info: log, warn: log, error: log },
      });
      const step = ran.map(({ name }) => name);
      // The runner writes when the transaction began, which may be before the lock was free, and orders by it.
      await client.query(`update ${schema}.migrations set run_on = clock_timestamp() where name = any ($1)`, [step]);
      await client.query("commit");
      if (step.length === 0) return names;
      names.push(...step);
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  }
  return names;
}

/** Loads pairs of SQL files, each once, with the role names of an installation. */
function loaderFor(prefix: string) {
  const texts = new Map<string, Promise<string>>();
  const textOf = (path: string): Promise<string> => {
    const text = texts.get(path) ?? readFile(path, "utf8");
    texts.set(path, text);
    return text;
  };
  return async (paths: string[]) => {
    const ups = paths.filter((path) => path.endsWith(".up.sql"));
    return await Promise.all(
      ups.map(async (path) => {
        const down = path.replace(/\.up\.sql$/, ".down.sql");
        const [upSql, downSql] = await Promise.all([path, down].map(textOf));
        // The caller's transaction holds the lock too.
        const within = (sql: string | undefined) => (builder: MigrationBuilder) => {
          builder.noTransaction();
          builder.sql(withRolePrefix(sql ?? "", prefix));
        };
        return {
          // The name under which the runner's own loader tracks a pair.
          id: path.replace(/\.up\.sql$/, ".sql"),
          filePaths: [path, down],
          actions: { up: within(upSql), down: within(downSql) },
        };
      }),
    );
  };
}
