import { runStoredService } from "@turnwright/platform/run-service";
import { conversationConfig, createConversation } from "./index.ts";

await runStoredService(
  { name: "conversation", schema: "conversation", config: conversationConfig },
  async ({ config, logger }, database) => createConversation({ config, database, logger }),
);
