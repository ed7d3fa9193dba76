import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { DecideApprovalsResponseSchema, type JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { callerServiceKey, requireIdentity } from "@turnwright/platform/identity/identity";
import type { Logger } from "@turnwright/platform/logger";
import { appendAudit } from "@turnwright/platform/postgres/audit-log";
import { decodeCursor, encodeCursor } from "@turnwright/platform/postgres/keyset-cursor";
import type { Tx } from "@turnwright/platform/postgres/pool";
import type { UserPool } from "@turnwright/platform/postgres/service-database";
import type pg from "pg";
import { checkRole } from "../deciders.ts";
import { type DecidedApproval, decideApprovals, getApproval, listApprovals } from "../store/approvals.ts";
import type { BeginRun } from "../store/begin-run/begin-run.ts";
import { addRunUsage, cancelRun, recordReceipts } from "../store/cancel-run.ts";
import { claimRun } from "../store/claims/claim-run.ts";
import { versionsOf } from "../store/claims/graph-versions.ts";
import { abandonRun, beat, leave } from "../store/claims/workers.ts";
import type { CommitRun } from "../store/commit-run.ts";
import { deleteConversation, getConversation, listConversations, listMessages } from "../store/conversations.ts";
import { checkDecider, resumeRun } from "../store/resume-run.ts";
import type { ReadContext } from "../store/run-context.ts";
import { getRun, listRuns, readRunLog } from "../store/runs.ts";
import type { WebhookWorker } from "../webhooks/worker.ts";
import { checkCommit } from "./commit-rules.ts";
import { withGrants } from "./grants.ts";

/**
 * The handlers of the record. Every one of them sees the caller's rows only: by its statements and by the database's
 * policies.
 */
export function conversationHandlers({ users }: { users: UserPool }): ServiceImpl<typeof ConversationService> {
  return {
    async listConversations({ limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const after = decodeCursor(cursor);
      const { next, ...page } = await users.as(userId, (db) => listConversations(db, { userId, after, limit }));
      return { ...page, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getConversation({ conversationId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return users.as(userId, (db) => getConversation(db, { userId, conversationId }));
    },
    async listMessages({ conversationId, limit = 100, after = 0 }, ctx) {
      const { userId } = requireIdentity(ctx);
      return users.as(userId, (db) => listMessages(db, { userId, conversationId, after, limit }));
    },
    async listApprovals({ status, limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, status: status || "pending", after: decodeCursor(cursor), limit };
      const { approvals, next } = await users.as(userId, (db) => listApprovals(db, asked));
      return { approvals, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getApproval({ approvalId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return { approval: await users.as(userId, (db) => getApproval(db, { userId, approvalId })) };
    },
    async listRuns({ conversationId, status, limit = 50, cursor }, ctx) {
      const { userId } = requireIdentity(ctx);
      const asked = { userId, conversationId, status, after: decodeCursor(cursor), limit };
      const { runs, next } = await users.as(userId, (db) => listRuns(db, asked));
      return { runs, nextCursor: next === undefined ? "" : encodeCursor(next) };
    },
    async getRun({ runId }, ctx) {
      const { userId } = requireIdentity(ctx);
      return { run: await users.as(userId, (db) => getRun(db, { userId, runId })) };
    },
    async deleteConversation({ conversationId }, ctx) {
      const { userId } = requireIdentity(ctx);
      await users.as(userId, (db) => deleteConversation(db, { userId, conversationId }));
      return {};
    },
  };
}

/** The handlers of the journal. The owner of a run is always the identity that travels with the call. */
export function journalHandlers({
  pool,
  users,
  beginRun,
  commitRun,
  logger,
  meshSecret,
  webhooks,
}: {
  pool: pg.Pool;
  users: UserPool;
  beginRun: BeginRun;
  commitRun: CommitRun;
  logger: Logger;
  /** Signs the grants of approved calls. */
  meshSecret: string;
  /** Hears of every run that ends or parks. */
  webhooks: Pick<WebhookWorker, "wake">;
}): ServiceImpl<typeof JournalService> {
  const granted = async ({ context, calls }: ReadContext) => {
    context.decisions = await withGrants(meshSecret, context.run, calls);
    return context;
  };
  return {
    async beginRun(request, ctx) {
      const { userId, tokenId, familyId } = requireIdentity(ctx);
      if (request.message.includes("\0")) {
        throw fail(ErrorReason.INVALID_REQUEST, "message: must not have NUL characters", { param: "message" });
      }
      const owner = request.workerId || callerOf(ctx);
      const { superseded, ...opened } = await beginRun({ request, userId, tokenId, familyId, owner });
      if (superseded) logger.warn({ conversation_id: request.conversationId }, "run ended that had passed its deadline");
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
        throw fail(ErrorReason.INVALID_REQUEST, "approved: needed unless single calls are decided", { param: "approved" });
      }
      const decisions = { calls, approved, reason };
      const owner = workerId || callerOf(ctx);
      const audit = (tx: Tx, decided: readonly DecidedApproval[]) => appendDecisions(tx, ctx, decided);
      const versions = versionsOf(request);
      const asked = { conversationId, decider, owner, versions, contextLimit, decisions, audit };
      const settlement = await decideApprovals(users, asked);
      const { conversation, context, queued: run } = settlement;
      if (context !== undefined) context.decisions = await withGrants(meshSecret, context.run, settlement.calls);
      return create(DecideApprovalsResponseSchema, { conversation, context, run });
    },
    async beat(request) {
      const { workerId, claimLimit, driving, leaving } = request;
      if (leaving) {
        await leave(pool, workerId);
        return { claimed: [], lost: [] };
      }
      const { claimed, lost } = await beat(pool, { id: workerId, claimLimit, versions: versionsOf(request), driving });
      return { claimed: await Promise.all(claimed.map(granted)), lost };
    },
    async claimRun(request) {
      const { runId, workerId } = request;
      const claimed = await claimRun(pool, { runId, workerId, versions: versionsOf(request) });
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
    async abandonRun({ runId, epoch, error }) {
      await abandonRun(pool, { id: runId, epoch, error });
      return {};
    },
  };
}

/** One entry of the audit log for each decision: who decided, and whose run it is. */
async function appendDecisions(tx: Tx, ctx: HandlerContext, decided: readonly DecidedApproval[]): Promise<void> {
  for (const { id, runId, startedBy, callId, tool, approved, isEdited } of decided) {
    const details = { run_id: runId, started_by_token: startedBy, call_id: callId, tool, approved, edited: isEdited };
    await appendAudit(tx, ctx, { action: "approval.decided", outcome: "success", subject: id, details });
  }
}

/** The service that drives the run. */
function callerOf(ctx: HandlerContext): string {
  return ctx.values.get(callerServiceKey) ?? "";
}
