import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { Logger } from "@turnwright/platform/logger";
import { mount, type RunningService } from "@turnwright/platform/service";
import type { ServiceDatabase } from "@turnwright/platform/service-database";
import type { ConversationConfig } from "./config.ts";
import { startExpirySweeper } from "./expiry-sweeper.ts";
import { conversationHandlers, journalHandlers } from "./service.ts";
import { setApprovalExpiry } from "./store/expired-approvals.ts";
import { pinIndexPlans } from "./store/plans.ts";

export { conversationConfig } from "./config.ts";

/** Makes the conversation service on its database, which stays the caller's to end. The schema is migrated before. */
export function createConversation(deps: {
  config: Pick<ConversationConfig, "MESH_SECRET" | "APPROVAL_EXPIRY">;
  /** No connection of it may be open yet. */
  database: ServiceDatabase;
  logger: Logger;
}): RunningService {
  const { database, config, logger } = deps;
  const { pool, users } = database;
  pinIndexPlans(database);
  setApprovalExpiry(database, config.APPROVAL_EXPIRY);
  const sweeper = startExpirySweeper({ pool, logger, expiryMs: config.APPROVAL_EXPIRY });
  return {
    mounts: [
      mount(ConversationService, conversationHandlers({ users })),
      mount(JournalService, journalHandlers({ pool, users, logger, meshSecret: config.MESH_SECRET })),
    ],
    async ready() {
      await pool.query("select 1");
    },
    close: () => sweeper.stop(),
  };
}
