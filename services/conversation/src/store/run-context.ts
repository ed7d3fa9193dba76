import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { type RunContext, RunContextSchema } from "@turnwright/contract/conversation/v1/run";
import { hedged } from "@turnwright/platform/postgres/patience";
import type { Queryable } from "@turnwright/platform/postgres/pool";
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
/** More than any round has: what is read of a round whose beginning lies before the context. */
const longestRound = 1_000;

const conversationSql = `select ${conversationColumns} from conversations where id = $1`;
// Endpoints reuse the ids of calls: what was decided before the newest calls were asked for is not about them.
const decidedSql = `
select ${approvalColumns} from approvals
where run_id = $1 and status <> 'pending' and created_at >= to_timestamp($2::double precision / 1000)
order by epoch, position`;

/** A run to go on with, and the decisions that were made on its calls; their grants are to be filled in. */
export interface ReadContext {
  readonly context: RunContext;
  readonly calls: readonly SettledCall[];
}

/** The newest messages of a conversation in whole rounds, and its last round whatever it lacks, because a run is about to answer it. */
export async function readContextMessages(
  db: Queryable,
  conversation: { id: string; messageCount: number },
  limit: number,
): Promise<Message[]> {
  const read = (count: number) =>
    readMessages(db, {
      conversationId: conversation.id,
      after: Math.max(0, conversation.messageCount - count),
      upTo: conversation.messageCount,
    });
  const messages = wholeRounds(await read(limit), limit, true);
  // The round itself is longer than the limit.
  return messages.length > 0 ? messages : wholeRounds(await read(longestRound), limit, true);
}

/** Reads what a claimed run goes on with. The caller has checked who may. */
export async function readRunContext(db: Queryable, row: RunRow): Promise<ReadContext> {
  const run = toRun(row);
  const conversationRow = (await db.query<ConversationRow>(conversationSql, [run.conversationId])).rows[0];
  if (conversationRow === undefined) throw new Error("a run has no conversation");
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

/** The same of a run that was just claimed: a read that is lost must not cost the claim. */
export function readClaimedContext(pool: pg.Pool, row: RunRow): Promise<ReadContext> {
  return hedged(() => readRunContext(pool, row));
}
