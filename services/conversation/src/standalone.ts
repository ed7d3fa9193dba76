import { createClient } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import { runStoredService } from "@turnwright/platform/process/run-service";
import { conversationConfig, startConversation } from "./index.ts";

/** Runs the service as a process of its own, configured by the environment. */
export async function runConversation(): Promise<void> {
  await runStoredService(
    { name: "conversation", schema: "conversation", config: conversationConfig },
    async ({ config, logger, transport }, database) => {
      // Without Redis, event streams of other processes are told of a change within a second.
      const ports = await openPorts({ redisUrl: redisUrl(config), busSecret: meshSecrets(config), logger });
      const service = startConversation({
        config,
        database,
        tokens: createClient(TokenService, transport("auth", config.AUTH_ADDR)),
        bus: ports.bus,
        logger,
      });
      return {
        ...service,
        async close() {
          await service.close();
          await ports.close();
        },
      };
    },
  );
}
