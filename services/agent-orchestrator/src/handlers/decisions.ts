import type { JsonObject } from "@bufbuild/protobuf";
import { type Client, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { DecideApprovalsRequest, DecisionResult } from "@turnwright/contract/agent/v1/agent_service";
import type { Approval } from "@turnwright/contract/conversation/v1/conversation";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { detailOf, ErrorReason, fail, mappingOf, reasonOf } from "@turnwright/platform/errors";
import { forward } from "@turnwright/platform/rpc/forward";
import { decide } from "../runs/decide.ts";
import { pendingApproval } from "../runs/follow-run.ts";
import type { RunDeps } from "../runs/launch.ts";
import type { RunHandle } from "../runs/run-handle.ts";
import { givenObject } from "./given-json.ts";
import { alreadyDecided, decidedTooLate, isExpired, isSameDecision } from "./standing-decision.ts";

/** Dependencies of decisions. */
type DecisionDeps = RunDeps & { readonly conversations: Client<typeof ConversationService> };

/** A decision on one call as its request gives it. */
interface GivenDecision {
  readonly approvalId: string;
  readonly approved?: boolean;
  readonly reason: string;
  readonly arguments?: JsonObject;
  readonly argumentsJson: string;
}

/** The outcome of a decision. */
interface Decided {
  /** The call as it was before the decision, or as it stands when the decision repeats an earlier one. */
  readonly approval: Approval;
  readonly approved: boolean;
  /** The decision was made before, and this one is the same. */
  readonly isRepeated: boolean;
  /** The run has no pending call left and goes on. */
  readonly goesOn: boolean;
  /** The run to wait for; only when the caller waits. */
  readonly run?: RunHandle;
}

/** The value of `approved`. Throws INVALID_REQUEST when it is unset. */
export function requireApproved(approved: boolean | undefined): boolean {
  if (approved !== undefined) return approved;
  throw fail(ErrorReason.INVALID_REQUEST, "approved: must be true or false", { param: "approved" });
}

const options = (ctx: HandlerContext) => forward(ctx, { timeoutMs: 15_000 });

/** One of the caller's approvals. Throws NOT_FOUND. */
export async function readApproval(deps: DecisionDeps, ctx: HandlerContext, approvalId: string): Promise<Approval> {
  const { approval } = await deps.conversations.getApproval({ approvalId }, options(ctx));
  if (approval === undefined) throw fail(ErrorReason.INTERNAL, "the conversation service returned no approval");
  return approval;
}

/**
 * Decides on one call. The same decision again has no further effect and throws nothing. Throws APPROVAL_DECIDED and
 * APPROVAL_EXPIRED, with what stands, when the call was settled otherwise.
 */
export async function decideCall(
  deps: DecisionDeps,
  ctx: HandlerContext,
  given: GivenDecision,
  { via, isAwaited }: { via: string; isAwaited: boolean },
): Promise<Decided> {
  const { approvalId, reason } = given;
  const approved = requireApproved(given.approved);
  const json = givenObject("arguments", { text: given.argumentsJson, value: given.arguments });
  if (!approved && json !== "")
    throw fail(ErrorReason.INVALID_REQUEST, "arguments: not allowed for a rejected call", { param: "arguments" });
  const approval = await readApproval(deps, ctx, approvalId);
  const { conversationId, callId, toolName } = approval;
  if (json !== "") await deps.executions.checkCall({ name: toolName, arguments: json }, options(ctx));
  const calls = [{ approvalId, callId, approved, reason, arguments: json }];
  try {
    const { run, goesOn } = await decide(deps, ctx, { conversationId, calls, via }, { isAwaited });
    return { approval, approved, isRepeated: false, goesOn, run };
  } catch (error) {
    const cause = reasonOf(error);
    if (cause !== ErrorReason.NOTHING_TO_APPROVE && cause !== ErrorReason.APPROVAL_EXPIRED) throw error;
    const standing = await readApproval(deps, ctx, approvalId);
    if (standing.status !== "approved" && standing.status !== "rejected") throw error;
    if (isExpired(standing)) throw decidedTooLate(standing, error);
    if (!isSameDecision(standing, { approved, reason, json })) throw alreadyDecided(standing, error);
    const { run } = await deps.conversations.getRun({ runId: standing.runId }, options(ctx));
    return { approval: standing, approved, isRepeated: true, goesOn: run?.status !== "waiting" };
  }
}

/** The state of a decided call's run, for a caller who does not wait. */
export function statusOf({ goesOn, approved }: Pick<Decided, "goesOn" | "approved">): string {
  if (!goesOn) return pendingApproval;
  return approved ? "approved" : "rejected";
}

const withoutArguments = (approval: Approval | undefined): Approval | undefined =>
  approval && { ...approval, arguments: "", editedArguments: "" };

/** Decides on several calls, one after the other. Throws INVALID_REQUEST when an approval is named twice. */
export async function decideCalls(
  deps: DecisionDeps,
  ctx: HandlerContext,
  { decisions, via }: DecideApprovalsRequest,
): Promise<Pick<DecisionResult, "approvalId" | "status" | "approval" | "error">[]> {
  const named = new Set<string>();
  for (const [index, { approvalId }] of decisions.entries()) {
    const param = `decisions[${index}].approval_id`;
    const id = approvalId.toLowerCase();
    if (named.has(id)) throw fail(ErrorReason.INVALID_REQUEST, `${param}: named twice`, { param });
    named.add(id);
  }
  const results: Pick<DecisionResult, "approvalId" | "status" | "approval" | "error">[] = [];
  for (const given of decisions) {
    ctx.signal.throwIfAborted();
    const { approvalId } = given;
    const [status, error] = await decideCall(deps, ctx, given, { via, isAwaited: false }).then(
      (decided) => [statusOf(decided), undefined] as const,
      (failure: unknown) => ["error", errorOf(deps, failure)] as const,
    );
    const approval = await readApproval(deps, ctx, approvalId).catch(() => undefined);
    results.push({ approvalId, status, approval: withoutArguments(approval), error });
  }
  return results;
}

function errorOf({ logger }: DecisionDeps, error: unknown): DecisionResult["error"] {
  const reason = reasonOf(error);
  const isTold = reason !== ErrorReason.INTERNAL && error instanceof ConnectError;
  if (!isTold) logger.error({ err: error }, "one of several decisions failed");
  return {
    $typeName: "turnwright.agent.v1.DecisionError",
    code: mappingOf(reason).code || "APPROVAL_ERROR",
    message: isTold ? error.rawMessage : "Something went wrong on our side.",
    param: detailOf(error)?.param ?? "",
  };
}
