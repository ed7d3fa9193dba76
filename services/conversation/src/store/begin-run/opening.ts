import type { BeginRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { isUniqueViolation } from "@turnwright/platform/postgres/pool";
import { titleOf } from "../../title.ts";
import type { GroupItem, RowColumns } from "../group-commit.ts";
import { partRows, partsLength } from "../message-parts.ts";
import type { ConversationRow, MessageRow } from "../rows.ts";
import { storable } from "../storable.ts";

/** The most messages of a conversation when a user's message is accepted; the runs of accepted ones add theirs. */
export const maxMessages = 100_000;

/** A run to begin, and the caller who begins it. */
export interface Opening {
  readonly request: BeginRunRequest;
  readonly userId: string;
  /** UUID of the credential, or empty. */
  readonly tokenId: string;
  /** UUID of the credential's family; empty: unknown. */
  readonly familyId: string;
  /** The worker, or else the service, that will own the run. */
  readonly owner: string;
}

/** An opening with its defaults filled in. */
export interface FullOpening extends Opening {
  /** UUID of the conversation, new or existing. */
  readonly conversationId: string;
  /** UUID of the user's message. */
  readonly messageId: string;
  readonly deadlineSeconds: number;
  /** The most messages in the context. */
  readonly contextLimit: number;
}

/** The result of a statement that began a run, or did not. */
export interface OpenedRow {
  readonly conversation: ConversationRow | null;
  /** Status of the run that was live, or overdue, when the statement began. */
  readonly live: string | null;
  readonly live_run_id: string | null;
  /** Whether the run was queued. */
  readonly queued: boolean;
  /** Whether the user has this conversation. */
  readonly known: boolean;
  /** Whether it has as many messages as one may have. */
  readonly full?: boolean;
  readonly messages: MessageRow[] | null;
  readonly at: Date;
}

/** The columns of an opening's row. */
export const openingColumns: RowColumns = {
  conversation_id: "uuid",
  user_id: "uuid",
  title: "text",
  agent_type: "text",
  message_id: "uuid",
  message: "text",
  run_id: "uuid",
  token_id: "uuid",
  family_id: "uuid",
  owner: "text",
  graph_version: "integer",
  deadline_seconds: "integer",
  context_limit: "integer",
  state: "text",
  background: "boolean",
  idempotency_key: "text",
  request_hash: "text",
  parts: "json",
};

/**
 * Whether a row `i` of these columns has no run yet. A conflict at the unique indexes would fail the statement, and
 * with it the other rows of its group.
 */
export const isNew = `not exists (select from runs r where r.run_id = any (array[i.run_id]))
    and not exists (select from runs r where r.user_id = any (array[i.user_id])
      and r.idempotency_key = any (array[i.idempotency_key]))`;

/** An opening that may be part of a group. */
export interface OpeningItem extends GroupItem {
  readonly opening: FullOpening;
}

/** An opening as a row. */
export function openingItem(opening: FullOpening): OpeningItem {
  const { request, userId, tokenId, familyId, owner, conversationId, messageId, deadlineSeconds, contextLimit } = opening;
  const runId = request.runId.toLowerCase();
  const key = request.idempotencyKey;
  const row = {
    conversation_id: conversationId,
    user_id: userId,
    title: storable(titleOf(request.message)),
    agent_type: storable(request.agentType),
    message_id: messageId,
    message: storable(request.message),
    run_id: runId,
    token_id: tokenId || null,
    family_id: familyId || null,
    owner: storable(owner),
    graph_version: request.graphVersion,
    deadline_seconds: deadlineSeconds,
    context_limit: contextLimit,
    state: request.state.toWellFormed() || null,
    background: request.background,
    idempotency_key: key || null,
    request_hash: key === "" ? null : Buffer.from(request.requestHash).toString("hex"),
    parts: partRows(request.parts),
  };
  return {
    opening,
    runId,
    row,
    size: request.message.length + request.state.length + partsLength(request.parts),
    keys: [conversationId.toLowerCase(), ...(key === "" ? [] : [JSON.stringify([userId, key])])],
  };
}

/** Undefined when the run or its key exists already. */
export async function unlessTaken<T>(opened: Promise<T>): Promise<T | undefined> {
  try {
    return await opened;
  } catch (error) {
    if (isUniqueViolation(error, "runs_pkey") || isUniqueViolation(error, "runs_idempotency")) return undefined;
    throw error;
  }
}
