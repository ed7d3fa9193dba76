import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { DecideApprovalsResponseSchema, type JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { createFailureLog } from "@turnwright/platform/failure-log";
import { callerServiceKey, requireIdentity } from "@turnwright/platform/identity/identity";
import type { Logger } from "@turnwright/platform/logger";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor, listStart, oldestStart } from "@turnwright/platform/postgres/keyset-cursor";
import type { Tx } from "@turnwright/platform/postgres/pool";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import type pg from "pg";
import type { createDeciderNames } from "../decider-names.ts";
import { checkRole } from "../deciders.ts";
import { type DecidedApproval, decideApprovals } from "../store/approvals.ts";
import type { BeginRun } from "../store/begin-run/begin-run.ts";
import { addRunUsage, cancelRun, recordReceipts } from "../store/cancel-run.ts";
import { listChangedRuns } from "../store/changed-runs.ts";
import { abandonRun } from "../store/claims/abandon-run.ts";
import { claimRun, readClaim } from "../store/claims/claim-run.ts";
import { versionsOf } from "../store/claims/graph-versions.ts";
import { type GivenUpRun, recordDeparture, recordHeartbeat } from "../store/claims/workers.ts";
import type { CommitRun } from "../store/commit-run/commit-run.ts";
import { listInbox } from "../store/inbox.ts";
import { readRetry } from "../store/read-retry.ts";
import { checkDecider, resumeRun } from "../store/resume-run.ts";
import type { ReadContext } from "../store/run-context.ts";
import { readRunLog } from "../store/runs.ts";
import { OutdatedApprovals, supersedeApprovals } from "../store/superseded-approvals.ts";
import type { WebhookWorker } from "../webhooks/worker.ts";
import { checkCommit, checkUsage } from "./commit-rules.ts";
import { withGrants } from "./grants.ts";

/** Characters of a run's last error in a log line. */
const maxErrorUnits = 1_000;

/** Handlers of the journal. A run always belongs to the user whose identity the call carries. */
export function journalHandlers({
  pool,
  users,
  beginRun,
  commitRun,
  deciderNames,
  logger,
  meshSecret,
  webhooks,
}: {
  pool: pg.Pool;
  users: UserPool;
  beginRun: BeginRun;
  commitRun: CommitRun;
  deciderNames: ReturnType<typeof createDeciderNames>;
  logger: Logger;
  /** The key that signs grants of approved calls. */
  meshSecret: string;
  /** Woken whenever a run ends or parks. */
  webhooks: Pick<WebhookWorker, "wake">;
}): ServiceImpl<typeof JournalService> {
  const granted = async ({ context, calls }: ReadContext) => {
    context.decisions = await withGrants(meshSecret, context.run, calls);
    return context;
  };
  const onUnreadable = (runId: string, cause: unknown) => {
    logger.error({ err: cause, run_id: runId }, "the context of a claimed run cannot be read; the run has ended");
    webhooks.wake();
  };
  const failures = createFailureLog(logger);
  const onGivenUp = ({ runId, conversationId, agent, attempts, lastError, error }: GivenUpRun) => {
    const ids = { run_id: runId, conversation_id: conversationId };
    const fields = () => ({ ...ids, agent, attempts, last_error: lastError?.slice(0, maxErrorUnits) });
    failures.warn({ message: "run failed", subject: [agent], error: fail(ErrorReason.RUN_ABANDONED, error), fields });
    webhooks.wake();
  };
  return {
    async beginRun(request, ctx) {
      const { userId, tokenId, familyId } = requireIdentity(ctx);
      if (request.message.includes("\0")) {
        throw fail(ErrorReason.INVALID_REQUEST, "message: must not have NUL characters", { param: "message" });
      }
      const owner = request.workerId || callerOf(ctx);
      const { superseded, ...opened } = await beginRun({ request, userId, tokenId, familyId, owner });
      if (superseded) logger.warn({ conversation_id: request.conversationId }, "overdue run ended");
      return opened;
    },
    async commitRun(request, ctx) {
      const { userId } = requireIdentity(ctx);
      checkCommit(request);
      const committed = await commitRun(userId, request);
      if (request.status !== RunStatus.RUNNING) webhooks.wake();
      return committed;
    },
    async decideApprovals(request, ctx) {
      const { conversationId, approved, reason, calls, contextLimit, workerId } = request;
      const decider = requireIdentity(ctx);
      checkRole(decider, "decide on approvals");
      if (approved === undefined && calls.length === 0) {
        throw fail(ErrorReason.INVALID_REQUEST, "approved: required unless single calls are decided", { param: "approved" });
      }
      const decisions = { calls, approved, reason };
      const owner = workerId || callerOf(ctx);
      const audit = (tx: Tx, decided: readonly DecidedApproval[]) => appendDecisions(tx, ctx, decided);
      const versions = versionsOf(request);
      const toolVersions = new Map(Object.entries(request.toolVersions));
      const names = await deciderNames(decider, request.via);
      const asked = { conversationId, decider, names, owner, versions, contextLimit, decisions, toolVersions, audit };
      const settlement = await decideApprovals(users, asked).catch(async (error: unknown) => {
        throw error instanceof OutdatedApprovals ? await supersedeApprovals(pool, error) : error;
      });
      const { conversation, context, queued: run } = settlement;
      if (context !== undefined) context.decisions = await withGrants(meshSecret, context.run, settlement.calls);
      return create(DecideApprovalsResponseSchema, { conversation, context, run });
    },
    async beat(request) {
      const { workerId, claimLimit, driving, leaving, idsOnly } = request;
      if (leaving) {
        await recordDeparture(pool, workerId);
        return { claimed: [], lost: [] };
      }
      const worker = { id: workerId, claimLimit, versions: versionsOf(request), driving, idsOnly, onUnreadable, onGivenUp };
      const { claimed, ...named } = await recordHeartbeat(pool, worker);
      const contexts = await Promise.allSettled(claimed.map(granted));
      for (const [index, one] of contexts.entries()) {
        if (one.status === "fulfilled") continue;
        logger.error({ err: one.reason, run_id: claimed[index]?.context.run?.id }, "claimed run cannot be handed out");
      }
      return { claimed: contexts.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])), ...named };
    },
    async claimRun(request) {
      const { runId, workerId, epoch } = request;
      const claimed =
        epoch > 0
          ? await readClaim(pool, { runId, workerId, epoch, onUnreadable })
          : await claimRun(pool, { runId, workerId, versions: versionsOf(request), onUnreadable });
      return claimed === undefined ? {} : { context: await granted(claimed) };
    },
    async cancelRun({ runId, reason }, ctx) {
      const { userId } = requireIdentity(ctx);
      const { context, cancelled, owner, nextRunId } = await users.as(userId, (db) => cancelRun(db, { runId, userId, reason }));
      if (cancelled) webhooks.wake();
      return { context, cancelled, workerId: owner, nextRunId };
    },
    async recordReceipts({ runId, receipts }, ctx) {
      const { userId } = requireIdentity(ctx);
      await users.as(userId, (db) => recordReceipts(db, { runId, userId, receipts }));
      return {};
    },
    async addRunUsage({ runId, usage, cost }, ctx) {
      const { userId } = requireIdentity(ctx);
      checkUsage(usage);
      const { promptTokens = 0, completionTokens = 0, totalTokens = 0 } = usage ?? {};
      await users.as(userId, (db) => addRunUsage(db, { runId, userId, promptTokens, completionTokens, totalTokens, cost }));
      return {};
    },
    async resumeRun(request, ctx) {
      const { runId, workerId } = request;
      const decider = requireIdentity(ctx);
      checkRole(decider, "review runs");
      return {
        context: await users.transaction(decider.userId, async (tx) => {
          const { startedBy, context } = await resumeRun(tx, { runId, decider, workerId, versions: versionsOf(request) });
          const details = { started_by_token: startedBy };
          await appendAudit(tx, ctx, { action: "run.reviewed", outcome: "success", subject: runId, details });
          return context === undefined ? undefined : await granted(context);
        }),
      };
    },
    async checkDecider({ runId }, ctx) {
      const decider = requireIdentity(ctx);
      checkRole(decider, "review runs");
      await users.as(decider.userId, (db) => checkDecider(db, { runId, decider }));
      return {};
    },
    async readRunLog({ runId, after, limit }, ctx) {
      const { userId } = requireIdentity(ctx);
      return await users.as(userId, (db) => readRunLog(db, { userId, runId, after, limit: limit || 100 }));
    },
    async listInboxItems({ decided, oldestFirst, limit, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const after = decodeCursor(cursor, oldestFirst ? oldestStart : listStart);
      const asked = { userId, isDecided: decided, isOldestFirst: oldestFirst, after, limit };
      const { next, ...page } = await users.as(userId, (db) => listInbox(db, asked));
      return { ...page, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async readRetry({ runId, retryId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return await users.as(userId, (db) => readRetry(db, { userId, runId, retryId }));
    },
    async listChangedRuns(request) {
      return { changed: await listChangedRuns(pool, request) };
    },
    async abandonRun({ runId, epoch, error, reason }) {
      await abandonRun(pool, { id: runId, epoch, error, reason });
      webhooks.wake();
      return {};
    },
  };
}

/** Writes one audit entry per decision, with the decider and the credential that started the run. */
async function appendDecisions(tx: Tx, ctx: HandlerContext, decided: readonly DecidedApproval[]): Promise<void> {
  for (const { id, runId, startedBy, callId, tool, approved, isEdited } of decided) {
    const details = { run_id: runId, started_by_token: startedBy, call_id: callId, tool, approved, edited: isEdited };
    await appendAudit(tx, ctx, { action: "approval.decided", outcome: "success", subject: id, details });
  }
}

/** Name of the service that made the call. */
function callerOf(ctx: HandlerContext): string {
  return ctx.values.get(callerServiceKey) ?? "";
}
