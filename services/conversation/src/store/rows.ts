import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Approval,
  ApprovalSchema,
  type Conversation,
  ConversationSchema,
  type Message,
  MessageSchema,
} from "@turnwright/contract/conversation/v1/conversation";
import { type Run, RunSchema, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { type PartRow, toPart } from "./message-parts.ts";

/** A conversation as `row_to_json` writes the columns of `conversationColumns`; times are ISO text. */
export interface ConversationRow {
  readonly id: string;
  readonly user_id: string;
  readonly title: string;
  readonly status: string;
  readonly agent_type: string;
  readonly model: string;
  readonly current_node: string;
  readonly finish_reason: string;
  readonly message_count: number;
  readonly tool_call_count: number;
  readonly total_tokens: number;
  readonly total_cost: number;
  readonly tags: string[];
  readonly archived: boolean;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_message_at: string;
}

/** The columns of a `ConversationRow`; takes no parameters. */
export const conversationColumns = `id, user_id, title, status, agent_type, model, current_node, finish_reason,
  message_count, tool_call_count,
  total_tokens, total_cost, tags, archived, created_at, updated_at, last_message_at`;

const maxInt32 = 2_147_483_647;

export function toConversation(row: ConversationRow): Conversation {
  return create(ConversationSchema, {
    id: row.id,
    userId: row.user_id,
    title: row.title,
    status: row.status,
    agentType: row.agent_type,
    model: row.model,
    currentNode: row.current_node,
    finishReason: row.finish_reason,
    messageCount: row.message_count,
    toolCallCount: row.tool_call_count,
    // The contract's field has 32 bits, the column 64.
    totalTokens: Math.min(row.total_tokens, maxInt32),
    totalCost: row.total_cost,
    tags: row.tags,
    archived: row.archived,
    createdAt: toTimestamp(row.created_at),
    updatedAt: toTimestamp(row.updated_at),
    lastMessageAt: toTimestamp(row.last_message_at),
  });
}

/** A tool call as stored, in OpenAI's format. */
export interface ToolCallRow {
  readonly id: string;
  readonly type: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A message as `json_agg` writes the columns of `messageColumns`. */
export interface MessageRow {
  readonly id: string;
  readonly run_id: string | null;
  readonly role: string;
  readonly content: string;
  readonly name: string;
  readonly tool_calls: ToolCallRow[] | null;
  readonly tool_call_id: string;
  readonly model: string;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly latency_ms: number;
  readonly sequence_number: number;
  readonly created_at: string;
  readonly finish_reason: string;
  readonly reasoning: string;
  readonly parts: PartRow[] | null;
  /** Only in the context of a run. */
  readonly provider_fields?: string;
}

/**
 * The columns of a `MessageRow` for the user's eyes: without the provider's fields. Callers know the conversation's id,
 * so rows do not repeat it. The arguments are SQL.
 */
export const messageColumnsWith = (
  content: string,
  reasoning: string,
  parts: string,
): string => `id, run_id, role, ${content}, name, tool_calls,
  tool_call_id, model, prompt_tokens, completion_tokens, latency_ms, sequence_number, created_at, finish_reason, ${reasoning},
  ${parts}`;

/** The same with the texts as they are. */
export const messageColumns = messageColumnsWith("content", "reasoning", "parts");

export function toMessage(conversationId: string, row: MessageRow): Message {
  return create(MessageSchema, {
    id: row.id,
    conversationId,
    runId: row.run_id ?? "",
    role: row.role,
    content: row.content,
    name: row.name,
    toolCalls: row.tool_calls ?? [],
    toolCallId: row.tool_call_id,
    model: row.model,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    latencyMs: row.latency_ms,
    sequenceNumber: row.sequence_number,
    createdAt: toTimestamp(row.created_at),
    finishReason: row.finish_reason,
    reasoning: row.reasoning,
    parts: (row.parts ?? []).map(toPart),
    providerFields: row.provider_fields ?? "",
  });
}

/** An approval as `json_agg` writes the columns of `approvalColumns`. */
export interface ApprovalRow {
  readonly id: string;
  readonly conversation_id: string;
  readonly run_id: string;
  readonly call_id: string;
  readonly tool_name: string;
  readonly tool_version: string;
  readonly arguments: string;
  readonly edited_arguments: string | null;
  readonly status: string;
  readonly reason: string;
  readonly decided_by: string | null;
  readonly decided_token_id: string | null;
  readonly decided_token_type: string | null;
  readonly created_at: string;
  readonly decided_at: string | null;
  readonly expires_at: string | null;
  readonly superseded_by: string | null;
  readonly decided_by_name: string;
  readonly decided_via: string;
}

/** The columns of an `ApprovalRow`. */
export const approvalColumns = `id, conversation_id, run_id, call_id, tool_name, tool_version, arguments, edited_arguments,
  status, reason,
  decided_by, decided_token_id, decided_token_type, created_at, decided_at, expires_at, superseded_by, decided_by_name,
  decided_via`;

export function toApproval(row: ApprovalRow): Approval {
  return create(ApprovalSchema, {
    id: row.id,
    conversationId: row.conversation_id,
    runId: row.run_id,
    callId: row.call_id,
    toolName: row.tool_name,
    toolVersion: row.tool_version,
    arguments: row.arguments,
    status: row.status,
    reason: row.reason,
    decidedBy: row.decided_by ?? "",
    decidedByTokenId: row.decided_token_id ?? "",
    decidedByTokenType: row.decided_token_type ?? "",
    decidedByName: row.decided_by_name,
    decidedVia: row.decided_via,
    createdAt: toTimestamp(row.created_at),
    editedArguments: row.edited_arguments ?? "",
    supersededBy: row.superseded_by ?? "",
    decidedAt: row.decided_at === null ? undefined : toTimestamp(row.decided_at),
    expiresAt: row.expires_at === null ? undefined : toTimestamp(row.expires_at),
  });
}

/** A run as `row_to_json` writes the columns of `runColumns`. */
export interface RunRow {
  readonly run_id: string;
  readonly conversation_id: string;
  readonly user_id: string;
  readonly token_id: string | null;
  readonly status: string;
  readonly node: string;
  readonly state: string | null;
  readonly epoch: number;
  readonly graph_version: number;
  readonly error: string;
  readonly seq: number;
  readonly deadline_seconds: number;
  readonly created_at: string;
  readonly updated_at: string;
}

/** The columns of a `RunRow`, of a table or alias `r`. */
export const runColumns = `r.run_id, r.conversation_id, r.user_id, r.token_id, r.status, r.node, r.state::text as state, r.epoch,
  r.graph_version, r.error, r.seq, r.deadline_seconds, r.created_at, r.updated_at`;

export function toRun(row: RunRow): Run {
  return create(RunSchema, {
    id: row.run_id,
    conversationId: row.conversation_id,
    userId: row.user_id,
    tokenId: row.token_id ?? "",
    status: toRunStatus(row.status),
    node: row.node,
    state: row.state ?? "",
    epoch: row.epoch,
    graphVersion: row.graph_version,
    error: row.error,
    seq: row.seq,
    deadlineSeconds: row.deadline_seconds,
    createdAt: toTimestamp(row.created_at),
    updatedAt: toTimestamp(row.updated_at),
  });
}

const runStatusNames: ReadonlyMap<RunStatus, string> = new Map([
  [RunStatus.QUEUED, "queued"],
  [RunStatus.RUNNING, "running"],
  [RunStatus.WAITING, "waiting"],
  [RunStatus.COMPLETED, "completed"],
  [RunStatus.FAILED, "failed"],
  [RunStatus.CANCELLED, "cancelled"],
  [RunStatus.NEEDS_REVIEW, "needs_review"],
]);

const runStatuses = new Map([...runStatusNames].map(([status, name]) => [name, status]));

/** The column's name for a status. The contract's rules have rejected all others before. */
export function runStatusName(status: RunStatus): string {
  const name = runStatusNames.get(status);
  if (name === undefined) throw new RangeError(`there is no column value for the run status ${status}`);
  return name;
}

function toRunStatus(name: string): RunStatus {
  return runStatuses.get(name) ?? RunStatus.UNSPECIFIED;
}

/** A database time, to the millisecond. */
export function toTimestamp(time: string | Date): Timestamp {
  return timestampFromMs(typeof time === "string" ? Date.parse(time) : time.getTime());
}
