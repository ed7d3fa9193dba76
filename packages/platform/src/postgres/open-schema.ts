import { databaseUrl, type PostgresConfig } from "../config/postgres-env.ts";
import type { Logger } from "../logger.ts";
import { explainDatabaseFault, isLastingFault } from "./database-fault.ts";
import { type MigratedService, migrateSchema } from "./migrations.ts";
import { untilDatabaseAnswers } from "./patience.ts";
import { checkPreparedStatements, isDirect, type OnConnected } from "./pooler-check.ts";
import { serviceLogin } from "./service-login.ts";

/** A service's way into its migrated schema. */
export interface SchemaAccess {
  /** Under the service's own login, or under the given one when there is no other. */
  readonly url: string;
  /** Prefix of the names of its roles. */
  readonly rolePrefix: string;
}

/**
 * Migrates a service's schema and finds or creates the service's login. Waits for a database that does not answer yet;
 * throws ConfigError, which names the variable to change, for any other fault of the configured database.
 */
export async function openSchema(options: {
  config: PostgresConfig;
  /** The configured database's, or that of the embedded one. */
  url: string;
  schema: MigratedService;
  logger: Logger;
  /** Milliseconds for which the database may be silent; 10,000 unless given. */
  patienceMs?: number;
}): Promise<SchemaAccess> {
  const { config, url, schema, logger, patienceMs } = options;
  const configured = databaseUrl(config) !== undefined;
  const explain = (error: unknown) => (configured ? explainDatabaseFault(error, config) : undefined);
  /** The addresses at which a connection keeps its backend, and with it its prepared statements. */
  const direct = new Set<string>();
  const onConnected: OnConnected = async (client, address) => {
    if (config.DB_PREPARED_STATEMENTS && (await isDirect(client))) direct.add(address);
  };
  try {
    const { rolePrefix } = await untilDatabaseAnswers(
      logger,
      () => migrateSchema({ url, service: schema, direction: "up", rolePrefix: config.DB_ROLE_PREFIX, logger, onConnected }),
      { patienceMs, isLasting: isLastingFault, explain: (error) => explain(error)?.faults[0] },
    );
    const login = await serviceLogin({ url, schema, rolePrefix, logger, onServing: onConnected });
    if (config.DB_PREPARED_STATEMENTS && !direct.has(login))
      await untilDatabaseAnswers(logger, () => checkPreparedStatements(login));
    return { url: login, rolePrefix };
  } catch (error) {
    throw explain(error) ?? error;
  }
}
