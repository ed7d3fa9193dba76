import type { CallEntry } from "../store/calls.ts";
import type { RegisteredTool } from "../tool-definition/registered-tool.ts";

/** What the ledger writes down of a call whose arguments were found valid. */
export function entryOf(call: { registered: RegisteredTool; callId: string; json: string; argumentsHash: string }): CallEntry {
  const { tool, spec } = call.registered;
  return {
    callId: call.callId.replaceAll("\0", ""),
    toolName: tool.name,
    toolVersion: tool.version,
    effect: tool.effect,
    requiresApproval: spec.requiresApproval,
    input: call.json.trim() === "" ? "{}" : call.json,
    argumentsHash: call.argumentsHash,
  };
}
