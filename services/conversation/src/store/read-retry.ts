import type { MessagePart } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { notFound } from "./cancel-run.ts";
import { type PartRow, toPart } from "./message-parts.ts";
import { agentOfRun } from "./runs.ts";

/**
 * The message of a run that never began stands in its row. Any other was stored in the transaction that accepted the
 * run or in the one that began it, and has the time of that transaction.
 */
const retrySql = `
with stored as (
  select m.content, m.parts from runs r join messages m on m.conversation_id = r.conversation_id
  where r.run_id = $1 and r.user_id = $2 and m.role = 'user' and m.created_at in (r.created_at, (
    select e.created_at from run_events e where e.run_id = r.run_id and e.seq = 1 and e.type = 'started'
  ))
  order by m.sequence_number desc limit 1
)
select r.conversation_id, r.status, r.deadline_seconds, ${agentOfRun} as agent,
  coalesce(nullif(r.model, ''), r.state ->> 'model', '') as model,
  coalesce(r.input, (select content from stored)) as message,
  case when r.input is null then (select parts from stored) else r.input_parts end as parts,
  r.state ->> 'trial' is not null as is_trial,
  exists (select from runs o where o.run_id = $3 and o.user_id = $2) as repeated,
  exists (
    select from runs o
    where o.conversation_id = r.conversation_id and (o.created_at, o.run_id) > (r.created_at, r.run_id)
  ) as followed
from runs r join conversations c on c.id = r.conversation_id
where r.run_id = $1 and r.user_id = $2 and c.deleted_at is null`;

interface RetryRow {
  readonly conversation_id: string;
  readonly status: string;
  readonly deadline_seconds: number;
  readonly agent: string;
  readonly model: string;
  readonly message: string | null;
  readonly parts: readonly PartRow[] | null;
  readonly is_trial: boolean;
  readonly repeated: boolean;
  readonly followed: boolean;
}

/** The request that started a run. */
export interface RetriedRequest {
  readonly conversationId: string;
  readonly message: string;
  readonly agentType: string;
  readonly model: string;
  readonly deadlineSeconds: number;
  readonly parts: MessagePart[];
}

/**
 * The request that started a user's run, to be made again as the run `retryId`. Throws NOT_FOUND; RUN_NOT_RETRYABLE for
 * a run that has neither failed nor been cancelled, or is not the last of its conversation; PENDING_REVIEW.
 */
export async function readRetry(
  db: Queryable,
  { userId, runId, retryId }: { userId: string; runId: string; retryId: string },
): Promise<RetriedRequest> {
  const { rows } = await db.query<RetryRow>({ name: "run-read-retry", text: retrySql, values: [runId, userId, retryId] });
  const row = rows[0];
  if (row === undefined) throw notFound();
  const refuse = (words: string) => fail(ErrorReason.RUN_NOT_RETRYABLE, words, { param: "run_id" });
  if (row.is_trial) throw refuse("This run is a trial of a tool; try the tool again.");
  if (row.status === "needs_review") {
    throw fail(ErrorReason.PENDING_REVIEW, "This run waits for a review; review or cancel it first.");
  }
  if (row.status === "completed") throw refuse("This run has completed; send its message again as a new one.");
  if (row.status !== "failed" && row.status !== "cancelled") throw refuse("This run has not ended.");
  if (row.followed && !row.repeated) throw refuse("Another run of the conversation came after this one.");
  if (row.message === null) throw refuse("The message of this run is not known.");
  return {
    conversationId: row.conversation_id,
    message: row.message,
    agentType: row.agent,
    model: row.model,
    deadlineSeconds: row.deadline_seconds,
    parts: (row.parts ?? []).map(toPart),
  };
}
