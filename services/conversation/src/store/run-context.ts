import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { type RunContext, RunContextSchema } from "@turnwright/contract/conversation/v1/run";
import { hedged } from "@turnwright/platform/postgres/patience";
import { abortable, type Queryable } from "@turnwright/platform/postgres/pool";
import type pg from "pg";
import { wholeRounds } from "../context.ts";
import { readMessages } from "./messages.ts";
import {
  type ApprovalRow,
  approvalColumns,
  type ConversationRow,
  conversationColumns,
  type RunRow,
  toConversation,
  toRun,
} from "./rows.ts";
import { type SettledCall, settledCallOf } from "./settled-calls.ts";

export const defaultContextLimit = 100;
/** More messages than any round has; read when a round begins before the context does. */
const longestRound = 1_000;
/** The most bytes of messages when the last round alone exceeds the limit; the run has the rest of a mesh message. */
const maxLargeBytes = 6 * 1024 * 1024;
/** The same as the database counts them, where quotes and backslashes of arguments count twice. */
const largestRound = maxLargeBytes + 2 * 1024 * 1024;

const conversationSql = `select ${conversationColumns} from conversations where id = $1`;
// Endpoints reuse call ids: an earlier decision does not belong to a later call with the same id.
const decidedSql = `
select ${approvalColumns} from approvals
where run_id = $1 and status in ('approved', 'rejected') and created_at >= to_timestamp($2::double precision / 1000)
order by epoch, position`;

/** A run to continue, with the decisions made on its calls; the caller fills in their grants. */
export interface ReadContext {
  readonly context: RunContext;
  readonly calls: readonly SettledCall[];
}

/**
 * The newest messages of a conversation, in whole rounds, `limit` messages and `maxContextBytes` at most. The last
 * round is kept even if incomplete or larger, because a run is about to answer it.
 */
export async function readContextMessages(
  db: Queryable,
  conversation: { id: string; messageCount: number },
  limit: number,
): Promise<Message[]> {
  const read = (count: number, mostBytes?: number) =>
    readMessages(db, {
      conversationId: conversation.id,
      after: Math.max(0, conversation.messageCount - count),
      upTo: conversation.messageCount,
      mostBytes,
    });
  const messages = wholeRounds(await read(limit), limit, { keepLast: true });
  if (messages.length > 0) return messages;
  return wholeRounds(await read(longestRound, largestRound), limit, { keepLast: true, maxBytes: maxLargeBytes });
}

/** Reads the context of a claimed run. The caller has checked access. */
export async function readRunContext(db: Queryable, row: RunRow): Promise<ReadContext> {
  const run = toRun(row);
  const conversationRow = (await db.query<ConversationRow>(conversationSql, [run.conversationId])).rows[0];
  if (conversationRow === undefined) throw new Error("the run has no conversation");
  const conversation = toConversation(conversationRow);
  const messages = await readContextMessages(db, conversation, defaultContextLimit);
  const asked = messages.findLast(({ toolCalls }) => toolCalls.length > 0)?.createdAt;
  const askedAt = asked === undefined ? 0 : timestampMs(asked);
  const { rows: decided } = await db.query<ApprovalRow>(decidedSql, [run.id, askedAt]);
  return {
    context: create(RunContextSchema, { run, conversation, messages }),
    calls: decided.map((approval) => settledCallOf(approval)),
  };
}

/** The same for a run just claimed. A lost read is repeated, so that it does not cost the claim. */
export function readClaimedContext(pool: pg.Pool, row: RunRow): Promise<ReadContext> {
  return hedged((signal) => readRunContext(abortable(pool, signal), row));
}
