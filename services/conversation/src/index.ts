import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { Logger } from "@turnwright/platform/logger";
import { mount, type RunningService } from "@turnwright/platform/service";
import type pg from "pg";
import type { ConversationConfig } from "./config.ts";
import { conversationHandlers, journalHandlers } from "./service.ts";
import { pinIndexPlans } from "./store/plans.ts";

export { conversationConfig } from "./config.ts";

/** Makes the conversation service on a pool of its schema, which stays the caller's to end. The schema is migrated before. */
export function createConversation(deps: {
  config: Pick<ConversationConfig, "MESH_SECRET">;
  /** No connection of it may be open yet. */
  pool: pg.Pool;
  logger: Logger;
}): RunningService {
  const { pool, config, logger } = deps;
  pinIndexPlans(pool);
  return {
    mounts: [
      mount(ConversationService, conversationHandlers({ pool })),
      mount(JournalService, journalHandlers({ pool, logger, meshSecret: config.MESH_SECRET })),
    ],
    async ready() {
      await pool.query("select 1");
    },
    async close() {},
  };
}
