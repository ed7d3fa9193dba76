import { ConfigError } from "@turnwright/platform/config/env";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import type { Logger } from "@turnwright/platform/logger";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import type { ServiceDatabase } from "@turnwright/platform/postgres/service-database";
import type { AuthConfig } from "./config.ts";
import { type Auth, startAuth } from "./index.ts";

/**
 * Starts auth as a process of its own, on a Redis connection that closes with it: the service first, which still uses
 * the connection, then the connection. Throws ConfigError when no Redis is configured.
 */
export async function startStandaloneAuth(
  { config, logger }: { config: AuthConfig; logger: Logger },
  database: ServiceDatabase,
  open = openPorts,
): Promise<Auth> {
  const url = redisUrl(config);
  if (url === undefined)
    throw new ConfigError(["REDIS_URL: separate processes need Redis to announce revocations to each other"]);
  const ports = await open({ redisUrl: url, busSecret: meshSecrets(config), logger });
  const auth = await startAuth({ config, database, bus: ports.bus, logger });
  return {
    ...auth,
    async close() {
      await auth.close();
      await ports.close();
    },
  };
}
