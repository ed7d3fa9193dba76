import { randomUUID } from "node:crypto";
import { fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ToolCall } from "@turnwright/contract/tool/v1/tool";
import { detailOf, ErrorReason, fail } from "@turnwright/platform/errors";
import type { CallResult } from "../calls/call-result.ts";
import { checkArguments } from "../calls/checked-call.ts";
import { runLogged } from "../running/run-logged.ts";
import type { ExecutorDeps } from "./deps.ts";

/** The most bytes of the outputs in one response: values of many numbers are larger in a message than as JSON. */
export const maxReturnedBytes = 6 * 1024 * 1024;
/** The most bytes of a message for each character of JSON: `0,` takes eleven. */
const longestForm = 6;

/** The bytes of an output, in a message or as JSON; those of its JSON times six where that is little enough. */
function sizeOf(output: string, value: Value, most: number): number {
  const jsonBytes = Buffer.byteLength(output);
  const atMost = jsonBytes * longestForm;
  return atMost <= most ? atMost : Math.max(jsonBytes, toBinary(ValueSchema, value).length);
}

function leftOut() {
  const words = `The call ran. Its output is left out: a response has at most ${maxReturnedBytes} bytes of outputs.`;
  return fail(ErrorReason.TOOL_FAILED, words);
}

/** An output and its JSON text. */
interface Output {
  readonly text: string;
  readonly value: Value;
}

/** Runs one call of a user. */
async function runCall(deps: ExecutorDeps, call: ToolCall, identity: Identity, signal: AbortSignal): Promise<Output> {
  const { name = "", arguments: argumentsText = "" } = call.function ?? {};
  const registered = deps.registry.find(name, identity);
  if (registered.spec.requiresApproval) {
    throw fail(ErrorReason.APPROVAL_REQUIRED, `The tool ${name} needs a person's approval and cannot be called directly.`);
  }
  const { userId, tokenId } = identity;
  const callKey = randomUUID();
  const checked = checkArguments(registered, (call.id || callKey).replaceAll("\0", ""), argumentsText);
  const result = await runLogged(deps, checked, { userId, callKey, signal });
  deps.directCalls.add({ call: checked, result, userId, tokenId });
  return outputOf(result);
}

/**
 * Runs one call of a user and gives its bare output. Throws UNKNOWN_TOOL, TOOL_NOT_ALLOWED, APPROVAL_REQUIRED (a direct
 * call cannot carry an approval), INVALID_TOOL_ARGUMENTS, TOOL_FAILED, TOOL_TIMEOUT, CANCELLED.
 */
export async function executeTool(deps: ExecutorDeps, call: ToolCall, identity: Identity, signal: AbortSignal): Promise<Value> {
  const { text, value } = await runCall(deps, call, identity, signal);
  if (sizeOf(text, value, maxReturnedBytes) > maxReturnedBytes) throw leftOut();
  return value;
}

function errorValue(error: unknown): Value {
  if (!(error instanceof ConnectError)) throw error;
  return fromJson(ValueSchema, { error: error.rawMessage });
}

/**
 * Runs the calls of a user in parallel. A failure stands as `{"error": …}` in its result's place, and so does an output
 * that is too large together with those before it.
 */
export async function batchExecuteTools(
  deps: ExecutorDeps,
  calls: readonly ToolCall[],
  identity: Identity,
  signal: AbortSignal,
): Promise<Value[]> {
  const ran = await Promise.all(
    calls.map((call) =>
      runCall(deps, call, identity, signal).catch((error: unknown) => ({ text: "", value: errorValue(error) })),
    ),
  );
  let left = maxReturnedBytes;
  return ran.map(({ text, value }) => {
    // A share of what is left: most batches are so small that nothing is measured.
    const size = sizeOf(text, value, left / calls.length);
    if (size > left) return errorValue(leftOut());
    left -= size;
    return value;
  });
}

function outputOf({ status, output, error, reason, cause }: CallResult): Output {
  const text = output ?? "null";
  if (status === "success") return { text, value: fromJson(ValueSchema, JSON.parse(text) as JsonValue) };
  if (cause instanceof ConnectError && detailOf(cause) !== undefined) throw cause;
  throw fail(reason ?? ErrorReason.TOOL_FAILED, error ?? "", { cause });
}
