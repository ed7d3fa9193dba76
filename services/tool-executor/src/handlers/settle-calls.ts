import { type Identity, Role } from "@turnwright/contract/auth/v1/identity";
import type { CallSettlement, SettleCallsRequest } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";
import { transaction } from "@turnwright/platform/postgres/pool";
import { type ResultMessage, resultMessage } from "../calls/call-result.ts";
import { type Settlement, settleUnknownCalls } from "../store/settlements.ts";
import { refuseNul } from "./call-ids.ts";
import type { ExecutorDeps } from "./deps.ts";

/**
 * Stores a person's findings about calls with an unknown outcome, all or none. Throws PERMISSION_DENIED,
 * INVALID_REQUEST, NOT_FOUND, TOOL_NOT_ALLOWED, CONFLICT.
 */
export async function settleCalls(
  deps: ExecutorDeps,
  { runId, calls }: SettleCallsRequest,
  { userId, role, allowedTools }: Identity,
): Promise<ResultMessage[]> {
  if (role === Role.AGENT) throw fail(ErrorReason.PERMISSION_DENIED, "An account with the role agent cannot settle calls.");
  const callIds = calls.map(({ callId }) => callId);
  refuseNul(callIds, "calls");
  const settlements = calls.map((call, index) => {
    if (callIds.indexOf(call.callId) !== index) throw invalid(`calls[${index}].call_id`, "named twice");
    return settlementOf(call, `calls[${index}].completed`);
  });
  return transaction(deps.pool, async (tx) => {
    const settled = await settleUnknownCalls(tx, { runId, userId }, settlements);
    return callIds.map((callId, index) => {
      const end = settled.get(callId);
      const param = `calls[${index}].call_id`;
      if (end === undefined) throw fail(ErrorReason.NOT_FOUND, "There is no such call.", { param });
      if (!allows(allowedTools, end.toolName)) {
        const refusal = `This token may not use the tool ${end.toolName}, so it may not settle its calls.`;
        throw fail(ErrorReason.TOOL_NOT_ALLOWED, refusal, { param });
      }
      if (!end.isSettledNow) throw fail(ErrorReason.CONFLICT, "The outcome of this call is known already.", { param });
      return resultMessage(callId, end);
    });
  });
}

function settlementOf({ callId, outcome }: CallSettlement, param: string): Settlement {
  if (outcome.case !== "completed") return { callId, output: null };
  const output = outcome.value;
  if (isTooDeep(output)) throw invalid(param, `is nested deeper than ${maxJsonDepth}`);
  try {
    JSON.parse(output);
  } catch {
    throw invalid(param, "is not JSON");
  }
  return { callId, output };
}

function invalid(param: string, what: string) {
  return fail(ErrorReason.INVALID_REQUEST, `${param}: ${what}`, { param });
}
