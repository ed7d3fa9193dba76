import { ConfigError } from "@turnwright/platform/config/env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import { runStoredService } from "@turnwright/platform/process/run-service";
import { authConfig, createAuth } from "./index.ts";

await runStoredService({ name: "auth", schema: "auth", config: authConfig }, async ({ config, logger }, database) => {
  const url = redisUrl(config);
  if (url === undefined) throw new ConfigError(["REDIS_URL: separate processes need Redis to tell each other of revocations"]);
  const ports = await openPorts({ redisUrl: url, busSecret: config.MESH_SECRET, logger });
  const auth = await createAuth({ config, database, bus: ports.bus, logger });
  return { ...auth, close: () => ports.close() };
});
