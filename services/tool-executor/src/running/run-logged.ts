import { detailOf, ErrorReason, fail, mappingOf, reasonName, reasonOf } from "@turnwright/platform/errors";
import type { FailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import type { CallResult } from "../calls/call-result.ts";
import type { CheckedCall } from "../calls/checked-call.ts";
import { SandboxEndedError } from "../sandbox/sandbox.ts";
import { type Attempt, runTool } from "./run-tool.ts";
import type { Slots } from "./slots.ts";

/** An attempt at a call, with the ids of its run, if it has one. */
export interface LoggedAttempt extends Attempt {
  readonly runId?: string;
  readonly conversationId?: string;
}

/** The parts that running a call needs. */
export interface Running {
  readonly slots: Slots;
  readonly logger: Logger;
  readonly failures: FailureLog;
}

/** Whether an error's words may have come from the arguments: a word of five letters stands in both. */
function repeats(words: string, argumentsText: string): boolean {
  return words.split(/[^\p{L}\p{N}.-]+/u).some((word) => word.length >= 5 && argumentsText.includes(word));
}

/**
 * Logs a call that failed: a warning, or information when the call itself was at fault. The text of an error that may
 * hold arguments or output is left out: the call's row has it.
 */
function logFailed(
  { logger, failures }: Running,
  { callId, registered, argumentsText }: CheckedCall,
  { runId, conversationId, userId }: LoggedAttempt,
  { status: outcome, error: words, durationMs, reason = ErrorReason.TOOL_FAILED, cause }: CallResult,
): void {
  const { name: tool, effect } = registered.tool;
  const isOurs = cause === undefined || cause instanceof SandboxEndedError;
  const error = isOurs ? fail(reason, words ?? "", { cause }) : cause;
  const told = detailOf(error) === undefined ? reason : reasonOf(error);
  const ids = { tool, call_id: callId, run_id: runId, conversation_id: conversationId, user_id: userId };
  const facts = { ...ids, reason: reasonName(told), outcome, effect, duration_ms: durationMs };
  if (mappingOf(told).httpStatus < 500 && outcome !== "unknown") {
    logger.info(facts, "tool call refused");
    return;
  }
  const fields = () => {
    // The error of a tool in a process of its own was made anew in this one, and its text is the tool's.
    const isBuiltIn = registered.prepare === undefined;
    const isKnown = isOurs || (isBuiltIn && detailOf(cause) !== undefined && !repeats(words ?? "", argumentsText));
    return { ...facts, ...(isBuiltIn ? {} : { at: undefined }), error: isKnown ? words : undefined };
  };
  failures.warn({ message: "tool call failed", subject: [tool, outcome], error, fields });
}

/** Runs a tool as `runTool` does. A call that neither succeeded nor was cancelled is logged with its cause, once. */
export async function runLogged(running: Running, call: CheckedCall, attempt: LoggedAttempt): Promise<CallResult> {
  const result = await runTool(running, call, attempt);
  if (result.status === "failed" || result.status === "unknown") logFailed(running, call, attempt, result);
  return result;
}
