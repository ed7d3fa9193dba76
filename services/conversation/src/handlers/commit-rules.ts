import type { Usage } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";

const roles = new Set(["system", "user", "assistant", "tool"]);
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const maxCount = 2_147_483_647;

type Count = [path: string, count: number];

/** A message that did not cross a wire may hold any number in an integer field. Throws INVALID_REQUEST. */
function checkCounts(counts: readonly Count[]): void {
  for (const [path, count] of counts) {
    if (Number.isInteger(count) && count >= 0 && count <= maxCount) continue;
    throw invalid(path, `must be a whole number up to ${maxCount}`);
  }
}

/** Checks that a usage has counts that can be stored. Throws INVALID_REQUEST. */
export function checkUsage(usage: Usage | undefined): void {
  checkCounts([
    ["usage.prompt_tokens", usage?.promptTokens ?? 0],
    ["usage.completion_tokens", usage?.completionTokens ?? 0],
    ["usage.total_tokens", usage?.totalTokens ?? 0],
  ]);
}

/** The counts of a step besides its usage, by path. */
function countsOf({ messages, messageAgesMs, toolCalls, wakeInMs }: CommitRunRequest): Count[] {
  return [
    ["tool_calls", toolCalls],
    ["wake_in_ms", wakeInMs],
    ...messageAgesMs.map((age, index): Count => [`message_ages_ms[${index}]`, age]),
    ...messages.flatMap(({ promptTokens, completionTokens, latencyMs }, index): Count[] => [
      [`messages[${index}].prompt_tokens`, promptTokens],
      [`messages[${index}].completion_tokens`, completionTokens],
      [`messages[${index}].latency_ms`, latencyMs],
    ]),
  ];
}

/** Checks the rules of a step that the contract's annotations cannot express. Throws INVALID_REQUEST. */
export function checkCommit(request: CommitRunRequest): void {
  const { status, messages, events, approvals, error, wakeInMs, finishReason, cost } = request;
  checkUsage(request.usage);
  checkCounts(countsOf(request));
  if (!(cost >= 0 && cost < Number.POSITIVE_INFINITY)) throw invalid("cost", "must be a finite number of at least 0");
  for (const [index, { id, role }] of messages.entries()) {
    if (!roles.has(role)) throw invalid(`messages[${index}].role`, "must be system, user, assistant or tool");
    if (id !== "" && !uuid.test(id)) throw invalid(`messages[${index}].id`, "must be a UUID");
  }
  let told = 0;
  for (const [index, event] of events.entries()) {
    if (event.type === "") throw invalid(`events[${index}].type`, "must not be empty");
    told += event.messages;
    if (event.messages < 0 || told > messages.length)
      throw invalid(`events[${index}].messages`, "more than the step has messages");
  }
  if (wakeInMs > 0 && status !== RunStatus.QUEUED) throw invalid("wake_in_ms", "allowed only with the status QUEUED");
  if (error !== "" && status !== RunStatus.FAILED) throw invalid("error", "allowed only with the status FAILED");
  if (finishReason !== "" && status !== RunStatus.COMPLETED)
    throw invalid("finish_reason", "allowed only with the status COMPLETED");
  if (status !== RunStatus.WAITING && approvals.length > 0) throw invalid("approvals", "allowed only with the status WAITING");
  if (status === RunStatus.WAITING && approvals.length === 0)
    throw invalid("approvals", "must not be empty: the run would wait forever");
  const calls = new Set<string>();
  for (const [index, { id, callId, toolName }] of approvals.entries()) {
    if (id !== "" && !uuid.test(id)) throw invalid(`approvals[${index}].id`, "must be a UUID");
    if (callId === "" || calls.has(callId)) throw invalid(`approvals[${index}].call_id`, "must be set and unique");
    if (toolName === "") throw invalid(`approvals[${index}].tool_name`, "must be set");
    calls.add(callId);
  }
}

function invalid(param: string, message: string) {
  return fail(ErrorReason.INVALID_REQUEST, `${param}: ${message}`, { param });
}
