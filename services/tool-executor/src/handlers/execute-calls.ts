import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ExecuteCallsRequest, ExecutionCall } from "@turnwright/contract/tool/v1/execution_service";
import { hashArguments, verifyGrant } from "@turnwright/platform/identity/grant";
import { type ResultMessage, refusal, resultMessage } from "../calls/call-result.ts";
import { type CheckedCall, checkArguments, type RefusedCall } from "../calls/checked-call.ts";
import { runLogged } from "../running/run-logged.ts";
import { refuseNul } from "./call-ids.ts";
import type { ExecutorDeps } from "./deps.ts";

/**
 * Runs the calls of one round in parallel; the results are in the calls' order. A call that the caller may not make has
 * the result REFUSED, with a text for the model. Calls without a run are not claimed: nothing can ask for them again.
 */
export async function executeCalls(
  deps: ExecutorDeps,
  request: ExecuteCallsRequest,
  identity: Identity,
  signal: AbortSignal,
): Promise<ResultMessage[]> {
  const callIds = request.calls.map(({ callId }) => callId);
  refuseNul(callIds, "calls");
  const { runId, conversationId, messageId, epoch } = request;
  const { userId, tokenId } = identity;
  const calls = await Promise.all(request.calls.map((call) => checkCall(deps, { runId, epoch, call, identity })));
  if (runId !== "") return deps.ledger.execute({ runId, conversationId, messageId, epoch, userId, tokenId }, calls, signal);
  return Promise.all(calls.map((call) => executeWithoutRun(deps, call, identity, signal)));
}

/** Checks the token's allowed tools, the tool's schema and, for a call that needs approval, its grant. */
async function checkCall(
  deps: ExecutorDeps,
  { runId, epoch, call, identity }: { runId: string; epoch: number; call: ExecutionCall; identity: Identity },
): Promise<CheckedCall | RefusedCall> {
  const { callId, name: tool } = call;
  const refuse = (refusal: string): RefusedCall => {
    return { callId, toolName: tool.replaceAll("\0", ""), argumentsHash: hashArguments(call.arguments), refusal };
  };
  try {
    const checked = checkArguments(deps.registry.find(tool, identity), callId, call.arguments);
    const { requiresApproval, version: toolVersion } = checked.registered.spec;
    const { argumentsHash } = checked;
    const expected = { runId, epoch, callId, tool, toolVersion, argumentsHash, tokenId: identity.tokenId };
    if (requiresApproval && (runId === "" || !(await verifyGrant(deps.meshSecrets, call.grant, expected)))) {
      const refused = refuse(`The tool ${tool} needs a person's approval of exactly this call.`);
      return { ...refused, unapprovedVersion: toolVersion };
    }
    return checked;
  } catch (error) {
    if (error instanceof ConnectError) return refuse(error.rawMessage);
    throw error;
  }
}

async function executeWithoutRun(
  deps: ExecutorDeps,
  call: CheckedCall | RefusedCall,
  { userId, tokenId }: Identity,
  signal: AbortSignal,
): Promise<ResultMessage> {
  if ("refusal" in call) return refusal(call);
  const result = await runLogged(deps, call, { userId, callKey: crypto.randomUUID(), signal });
  deps.directCalls.add({ call, result, userId, tokenId });
  return resultMessage(call.callId, result);
}
