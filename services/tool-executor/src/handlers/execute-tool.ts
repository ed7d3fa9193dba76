import { randomUUID } from "node:crypto";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ToolCall } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, fail } from "@turnwright/platform/errors";
import type { CallResult } from "../calls/call-result.ts";
import { checkArguments } from "../calls/checked-call.ts";
import { runTool } from "../running/run-tool.ts";
import type { ExecutorDeps } from "./deps.ts";

/**
 * Runs one call of a user and gives its bare output. Throws UNKNOWN_TOOL, TOOL_NOT_ALLOWED, APPROVAL_REQUIRED (a direct
 * call cannot carry an approval), INVALID_TOOL_ARGUMENTS, TOOL_FAILED, TOOL_TIMEOUT, CANCELLED.
 */
export async function executeTool(deps: ExecutorDeps, call: ToolCall, identity: Identity, signal: AbortSignal): Promise<Value> {
  const { name = "", arguments: argumentsText = "" } = call.function ?? {};
  const registered = deps.registry.find(name, identity);
  if (registered.spec.requiresApproval) {
    throw fail(ErrorReason.APPROVAL_REQUIRED, `The tool ${name} needs a person's approval and cannot be called directly.`);
  }
  const { userId, tokenId } = identity;
  const callKey = randomUUID();
  const checked = checkArguments(registered, (call.id || callKey).replaceAll("\0", ""), argumentsText);
  const result = await runTool(deps, checked, { userId, callKey, signal });
  deps.directCalls.add({ call: checked, result, userId, tokenId });
  return outputOf(result);
}

/** Runs the calls of a user in parallel. A failure stands as `{"error": …}` in its result's place. */
export function batchExecuteTools(
  deps: ExecutorDeps,
  calls: readonly ToolCall[],
  identity: Identity,
  signal: AbortSignal,
): Promise<Value[]> {
  return Promise.all(
    calls.map(async (call) => {
      try {
        return await executeTool(deps, call, identity, signal);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        return fromJson(ValueSchema, { error: error.rawMessage });
      }
    }),
  );
}

function outputOf({ status, output, error, reason, cause }: CallResult): Value {
  if (status === "success") return fromJson(ValueSchema, JSON.parse(output ?? "null") as JsonValue);
  if (cause instanceof ConnectError && detailOf(cause) !== undefined) throw cause;
  throw fail(reason ?? ErrorReason.TOOL_FAILED, error ?? "", { cause });
}
