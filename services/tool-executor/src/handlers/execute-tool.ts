import { randomUUID } from "node:crypto";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ToolCall } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, fail } from "@turnwright/platform/errors";
import { hashArguments } from "@turnwright/platform/identity/grant";
import { entryOf } from "../ledger/call-entry.ts";
import { endOf } from "../ledger/call-results.ts";
import { type Outcome, runTool } from "../running/run-tool.ts";
import type { ExecutorParts } from "./deps.ts";

/**
 * Runs one call of a user. Throws UNKNOWN_TOOL, TOOL_NOT_ALLOWED, APPROVAL_REQUIRED (a direct call cannot carry an approval),
 * INVALID_TOOL_ARGUMENTS, TOOL_FAILED, TOOL_TIMEOUT, CANCELLED.
 */
export async function executeDirectly(
  parts: ExecutorParts,
  call: ToolCall,
  identity: Identity,
  signal: AbortSignal,
): Promise<Value> {
  const { name = "", arguments: json = "" } = call.function ?? {};
  const registered = parts.registry.find(name, identity);
  if (registered.spec.requiresApproval) {
    throw fail(ErrorReason.APPROVAL_REQUIRED, `The tool ${name} needs a person's approval and cannot be called directly.`);
  }
  const args = registered.parse(json);
  const { userId, tokenId } = identity;
  const callKey = randomUUID();
  const outcome = await runTool(parts, { registered, args, userId, callKey, signal });
  const entry = entryOf({ registered, callId: call.id || callKey, json, argumentsHash: hashArguments(json) });
  parts.freeCalls.add({ ...entry, ...endOf(outcome), userId, tokenId });
  return answerOf(outcome);
}

/** As `executeDirectly`, with a failure as `{"error": …}` in the result's place. */
export async function executeInBatch(
  parts: ExecutorParts,
  call: ToolCall,
  identity: Identity,
  signal: AbortSignal,
): Promise<Value> {
  try {
    return await executeDirectly(parts, call, identity, signal);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return fromJson(ValueSchema, { error: error.rawMessage });
  }
}

const reasons = {
  timeout: ErrorReason.TOOL_TIMEOUT,
  cancel: ErrorReason.CANCELLED,
  end: ErrorReason.TOOL_FAILED,
} as const;

function answerOf(outcome: Outcome): Value {
  if (outcome.kind === "success") return fromJson(ValueSchema, JSON.parse(outcome.output) as JsonValue);
  if (outcome.kind === "failed") {
    if (outcome.cause instanceof ConnectError && detailOf(outcome.cause) !== undefined) throw outcome.cause;
    throw fail(ErrorReason.TOOL_FAILED, outcome.error, { cause: outcome.cause });
  }
  throw fail(reasons[outcome.because], outcome.error);
}
