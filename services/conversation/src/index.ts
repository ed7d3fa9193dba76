import type { Client } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { DecisionAuditService } from "@turnwright/contract/conversation/v1/decision_audit_service";
import { EventService } from "@turnwright/contract/conversation/v1/event_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { RunAdminService } from "@turnwright/contract/conversation/v1/run_admin_service";
import { RunStepService } from "@turnwright/contract/conversation/v1/run_step_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { guarded } from "@turnwright/platform/async/guarded";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { ErrorReason } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { createOutbound } from "@turnwright/platform/outbound/outbound";
import type { Bus } from "@turnwright/platform/ports/bus";
import { createIdempotency, pruneIdempotencyKeys } from "@turnwright/platform/postgres/idempotency";
import type { ServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { mount, type RunningService } from "@turnwright/platform/rpc/mount";
import type { ConversationConfig } from "./config.ts";
import { createDeciderNames } from "./decider-names.ts";
import { startExpirySweeper } from "./expiry-sweeper.ts";
import { conversationHandlers } from "./handlers/conversations.ts";
import { decisionAuditHandlers } from "./handlers/decision-audit.ts";
import { eventHandlers, telling } from "./handlers/events.ts";
import { journalHandlers } from "./handlers/journal.ts";
import { runAdminHandlers } from "./handlers/run-admin.ts";
import { runStepHandlers } from "./handlers/run-steps.ts";
import { webhookHandlers } from "./handlers/webhooks.ts";
import { startJournalPulse } from "./journal-pulse.ts";
import { createKeyNames } from "./key-names.ts";
import { createBeginRun } from "./store/begin-run/begin-run.ts";
import { createCommitRun } from "./store/commit-run/commit-run.ts";
import { connectionSettings } from "./store/connection-settings.ts";
import { EventFeed } from "./user-events/event-feed.ts";
import { watchMakers } from "./webhooks/makers.ts";
import { startWebhookWorker, type WebhookPace } from "./webhooks/worker.ts";

/** How often old idempotency keys are deleted, in milliseconds. */
const pruneMs = 600_000;

export { conversationConfig } from "./config.ts";

/**
 * Starts the conversation service, with its pulse, its expiry sweeper and its webhook worker. `close` stops them; the
 * caller still has to end the database. The schema must be migrated.
 */
export function startConversation(deps: {
  config: Pick<ConversationConfig, "MESH_SECRET" | "MESH_SECRET_ACCEPTED" | "APPROVAL_EXPIRY" | "WEBHOOK_ALLOWED_HOSTS">;
  database: ServiceDatabase;
  /** Auth, which reports credentials that have ended, and names keys and deciders. */
  tokens: Client<typeof TokenService>;
  /** Tells other processes that something has changed; without one, their streams learn it within a second. */
  bus?: Bus;
  logger: Logger;
  /** Overrides of the usual webhook timing. */
  webhookPace?: Partial<WebhookPace>;
  /** Whether all workers that use this journal run in this process. */
  hasOwnWorkers?: boolean;
}): RunningService {
  const { database, config, logger } = deps;
  const { pool, users } = database.withSettings(connectionSettings({ approvalExpiryMs: config.APPROVAL_EXPIRY }));
  const pulse = startJournalPulse({ pool, logger, endsWithWorkers: deps.hasOwnWorkers ?? false });
  const sweeper = startExpirySweeper({ pool, logger, expiryMs: config.APPROVAL_EXPIRY });
  const outbound = createOutbound({
    allowedHosts: config.WEBHOOK_ALLOWED_HOSTS,
    httpsOnly: true,
    reasons: { refused: ErrorReason.INVALID_REQUEST, failed: ErrorReason.UNAVAILABLE },
  });
  const worker = startWebhookWorker({ pool, outbound, logger, pace: deps.webhookPace });
  const feed = new EventFeed({ pool, users, bus: deps.bus, logger });
  const makers = watchMakers({ pool, tokens: deps.tokens, worker, logger, onRevoked: (told) => void feed.ended(told) });
  const idempotency = createIdempotency({ secrets: meshSecrets(config) });
  const pruning = setInterval(
    guarded(logger, "idempotency keys", () => pruneIdempotencyKeys(pool)),
    pruneMs,
  ).unref();
  const deciderNames = createDeciderNames({ tokens: deps.tokens, logger });
  const journal = { pool, users, beginRun: createBeginRun(pool), commitRun: createCommitRun(pool), deciderNames };
  const nameKeys = createKeyNames({ tokens: deps.tokens, logger });
  const conversations = conversationHandlers({ users, idempotency, nameKeys });
  return {
    mounts: [
      mount(ConversationService, telling(conversations, ["deleteConversation"], feed)),
      mount(RunAdminService, runAdminHandlers({ pool, nameKeys })),
      mount(RunStepService, runStepHandlers({ users })),
      mount(
        JournalService,
        telling(
          journalHandlers({ ...journal, logger, meshSecret: config.MESH_SECRET, webhooks: worker }),
          ["beginRun", "commitRun", "decideApprovals", "claimRun", "cancelRun", "resumeRun", "abandonRun"],
          feed,
        ),
      ),
      mount(DecisionAuditService, decisionAuditHandlers({ pool })),
      mount(EventService, eventHandlers(feed)),
      mount(WebhookService, webhookHandlers({ users, outbound, worker, makers, idempotency })),
    ],
    ready: () => pulse.ready(),
    underWay: () => ({ webhooks: worker.underWay }),
    async drain() {
      feed.drain();
    },
    async close() {
      clearInterval(pruning);
      await feed.close();
      await pulse.stop();
      await sweeper.stop();
      await makers.close();
      await worker.close();
    },
  };
}
