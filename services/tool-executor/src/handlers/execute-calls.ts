import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ExecuteCallsRequest, ExecutionCall } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { entryOf } from "../ledger/call-entry.ts";
import { endOf, type Result, refused, resultOf } from "../ledger/call-results.ts";
import type { CheckedCall, RefusedCall } from "../ledger/in-flight-call.ts";
import { runTool } from "../running/run-tool.ts";
import type { ExecutorParts } from "./deps.ts";

/**
 * Runs the calls of one round side by side; the results stand in their order. What the caller may not do is a result,
 * REFUSED with a text for the model. Without a run there is no claim: nothing can ask for the calls again.
 */
export async function executeRound(
  parts: ExecutorParts,
  request: ExecuteCallsRequest,
  identity: Identity,
  signal: AbortSignal,
): Promise<Result[]> {
  noNul(
    request.calls.map(({ callId }) => callId),
    "calls",
  );
  const { runId, conversationId, messageId, epoch } = request;
  const { userId, tokenId } = identity;
  const calls = await Promise.all(request.calls.map((call) => checkCall(parts, { runId, epoch, call, identity })));
  if (runId !== "") return parts.ledger.execute({ runId, conversationId, messageId, epoch, userId, tokenId }, calls, signal);
  return Promise.all(calls.map((call) => executeFree(parts, call, identity, signal)));
}

/** Refuses call ids that PostgreSQL cannot hold. Throws INVALID_REQUEST. */
export function noNul(callIds: readonly string[], param: string): void {
  if (callIds.some((callId) => callId.includes("\0"))) {
    throw fail(ErrorReason.INVALID_REQUEST, `${param}: call ids must not have NUL characters`, { param });
  }
}

/**
 * Decides whether a call may run: the token's tools, the tool's schema, a person's approval of this call for this
 * token.
 */
async function checkCall(
  parts: ExecutorParts,
  { runId, epoch, call, identity }: { runId: string; epoch: number; call: ExecutionCall; identity: Identity },
): Promise<CheckedCall | RefusedCall> {
  const { callId, name: toolName } = call;
  const argumentsHash = hashArguments(call.arguments);
  const refuse = (refusal: string): RefusedCall => ({ callId, toolName: toolName.replaceAll("\0", ""), argumentsHash, refusal });
  try {
    const registered = parts.registry.find(toolName, identity);
    const args = registered.parse(call.arguments);
    const { requiresApproval, version: toolVersion } = registered.spec;
    const { tokenId } = identity;
    const expected = { runId, epoch, callId, tool: toolName, toolVersion, argumentsHash, tokenId };
    if (requiresApproval && (runId === "" || !(await verifyGrant(parts.meshSecret, call.grant, expected)))) {
      return refuse(`The tool ${toolName} needs a person's approval of exactly this call.`);
    }
    return { ...entryOf({ registered, callId, json: call.arguments, argumentsHash }), registered, args };
  } catch (error) {
    if (error instanceof ConnectError) return refuse(error.rawMessage);
    throw error;
  }
}

async function executeFree(
  parts: ExecutorParts,
  call: CheckedCall | RefusedCall,
  identity: Identity,
  signal: AbortSignal,
): Promise<Result> {
  if ("refusal" in call) return refused(call.callId, call.refusal);
  const { userId, tokenId } = identity;
  const end = endOf(await runTool(parts, { ...call, userId, callKey: crypto.randomUUID(), signal }));
  const { registered, args, ...entry } = call;
  parts.freeCalls.add({ ...entry, ...end, userId, tokenId });
  return resultOf(call.callId, end);
}
