import { createClient } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { runStoredService } from "@turnwright/platform/process/run-service";
import { conversationConfig, startConversation } from "./index.ts";

/** Runs the service as a process of its own, configured by the environment. */
export async function runConversation(): Promise<void> {
  await runStoredService(
    { name: "conversation", schema: "conversation", config: conversationConfig },
    async ({ config, logger, transport }, database) =>
      startConversation({
        config,
        database,
        tokens: createClient(TokenService, transport("auth", config.AUTH_ADDR)),
        logger,
      }),
  );
}
