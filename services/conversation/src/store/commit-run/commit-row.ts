import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { GroupItem } from "../group-commit.ts";
import { runStatusName } from "../rows.ts";
import { storable } from "../storable.ts";
import { messageRows } from "../stored-messages.ts";

/** A commit's row, and whether it parks the run. */
export interface CommitItem extends GroupItem {
  readonly parks: boolean;
}

/** The row of a step; `stored` are its messages as they will be stored. */
export function commitItem(userId: string, request: CommitRunRequest, stored: readonly Message[]): CommitItem {
  const { events, approvals, usage, messageAgesMs } = request;
  const runId = request.runId.toLowerCase();
  const promptTokens = usage?.promptTokens ?? 0;
  const completionTokens = usage?.completionTokens ?? 0;
  const parks = request.status === RunStatus.WAITING;
  const row = {
    run_id: runId,
    user_id: userId,
    epoch: request.epoch,
    seq: request.seq,
    status: runStatusName(request.status),
    node: storable(request.node),
    state: request.state.toWellFormed() || null,
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: usage?.totalTokens || promptTokens + completionTokens,
    // JSON cannot express NaN.
    cost: String(request.cost),
    tool_calls: request.toolCalls,
    error: storable(request.error),
    finish_reason: storable(request.finishReason),
    model: storable(request.model),
    agent: storable(request.agent),
    standing: parks ? "pending_approval" : "active",
    message_count: stored.length,
    messages: messageRows(stored).map((message, index) => ({ ...message, age_ms: messageAgesMs[index] ?? 0 })),
    event_count: events.length,
    events: eventRows(events),
    wake_in_ms: request.wakeInMs,
    graph_version: request.graphVersion,
    approvals: approvalRows(approvals),
  };
  const texts = [
    request.state,
    ...stored.flatMap(({ content, reasoning, providerFields }) => [content, reasoning, providerFields]),
    ...events.map(({ payload }) => payload),
  ];
  return { runId, row, size: texts.reduce((size, text) => size + text.length, 0), keys: [], parks };
}

/** The log entries, each with the position of its first message among the commit's messages. */
function eventRows(events: CommitRunRequest["events"]) {
  let told = 0;
  return events.map(({ type, payload, messages }, index) => {
    const first = told + 1;
    told += messages;
    return { n: index + 1, type: storable(type), payload: payload || null, first, messages };
  });
}

function approvalRows(approvals: CommitRunRequest["approvals"]) {
  return approvals.map((approval, index) => ({
    n: index + 1,
    id: approval.id || uuidv7(),
    call_id: storable(approval.callId),
    tool_name: storable(approval.toolName),
    tool_version: storable(approval.toolVersion),
    arguments: storable(approval.arguments),
  }));
}
