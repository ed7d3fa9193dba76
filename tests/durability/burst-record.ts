import type pg from "pg";
import { answerTo } from "./burst-model.ts";

/** A run of a conversation, as the journal has it. */
export interface RecordedRun {
  readonly run_id: string;
  readonly status: string;
  /** Milliseconds since the epoch by the database's clock, taken when the statement that recorded the event began. */
  readonly accepted: number;
  readonly started: number;
  readonly ended: number | null;
  /** Sequence number of the message that answers it; null: none. */
  readonly answer: number | null;
  /** The reason of its cancellation; null: not cancelled. */
  readonly cancelled_for: string | null;
  readonly epoch: number;
}

/** A conversation as stored. */
export interface ConversationRecord {
  /** In the order of acceptance, which is that of the queue. */
  readonly runs: readonly RecordedRun[];
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

const runsSql = `
select r.run_id, r.status, r.epoch, extract(epoch from r.created_at)::float8 * 1000 as accepted,
  extract(epoch from coalesce((select min(created_at) from conversation.run_events where run_id = r.run_id and type = 'started'),
    r.created_at))::float8 * 1000 as started,
  extract(epoch from e.created_at)::float8 * 1000 as ended, e.payload ->> 'reason' as cancelled_for,
  case when e.type = 'completed' then e.first_message + e.messages - 1 end as answer
from conversation.runs r
  left join conversation.run_events e on e.run_id = r.run_id and e.type in ('completed', 'failed', 'cancelled')
where r.conversation_id = $1
order by r.created_at, r.run_id`;

/** Reads the record of a conversation. */
export async function readRecord(db: pg.Pool, conversationId: string): Promise<ConversationRecord> {
  const { rows: runs } = await db.query<RecordedRun>(runsSql, [conversationId]);
  const { rows: messages } = await db.query<{ role: string; content: string }>(
    "select role, content from conversation.messages where conversation_id = $1 order by sequence_number",
    [conversationId],
  );
  return { runs, messages };
}

const ends: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);
/**
 * Times are those at which statements began: one that waits for a run to end may have begun slightly before that end.
 */
const slackMs = 250;

/** Faults of a record under any policy; `texts`: the messages that were sent. */
export function recordFaults({ runs, messages }: ConversationRecord, texts: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const run of runs) {
    if (!ends.has(run.status) || run.ended === null) faults.push(`run ${run.run_id} is ${run.status}`);
    if (run.status === "failed") faults.push(`run ${run.run_id} failed`);
    if (run.status === "cancelled" && run.cancelled_for !== "interrupted")
      faults.push(`run ${run.run_id} was cancelled for ${run.cancelled_for}`);
    if (run.status !== "completed") continue;
    const [said, answer] = [messages[(run.answer ?? 0) - 2], messages[(run.answer ?? 0) - 1]];
    if (said?.role !== "user" || answer?.role !== "assistant" || answer.content !== answerTo(said.content))
      faults.push(`the answer of run ${run.run_id} to "${said?.content}" is "${answer?.content}"`);
  }
  const began = runs.filter(({ status, started, accepted }) => status === "completed" || started > accepted);
  const byStart = began.toSorted((a, b) => a.started - b.started);
  for (const [index, run] of byStart.entries()) {
    const next = byStart[index + 1];
    if (next !== undefined && next.started + slackMs < (run.ended ?? Number.POSITIVE_INFINITY))
      faults.push(`runs ${run.run_id} and ${next.run_id} were in progress at once`);
  }
  const said = messages.filter(({ role }) => role === "user").map(({ content }) => content);
  if (new Set(said).size < said.length) faults.push("a message is stored twice");
  if (said.some((content) => !texts.has(content))) faults.push("a stored message was never sent");
  const answers = messages.filter(({ role }) => role === "assistant").length;
  const completed = runs.filter(({ status }) => status === "completed").length;
  if (answers !== completed) faults.push(`${answers} answers of ${completed} completed runs`);
  return faults;
}

/**
 * Counts runs that were answered ahead of a run accepted earlier, although that one had already waited for a while when
 * they began. Messages accepted at the same moment may be stored, and so begin, in another order than their clock
 * times.
 */
export function inversions({ runs }: ConversationRecord): number {
  const answered = runs.flatMap(({ answer, ...run }) => (answer === null ? [] : [{ ...run, answer }]));
  const isAhead = (other: (typeof answered)[0], run: (typeof answered)[0]) =>
    other.accepted < run.accepted && other.accepted + slackMs < run.started && other.answer > run.answer;
  return answered.filter((run) => answered.some((other) => isAhead(other, run))).length;
}

/** Milliseconds that a newer message may need to stop the answer in progress. */
const stopMs = 200;

/** Counts runs answered to the end although a newer message had been accepted well before. */
export function uninterrupted({ runs }: ConversationRecord): number {
  return runs.filter(
    (run) =>
      run.status === "completed" && runs.some(({ accepted }) => accepted > run.started && accepted + stopMs < (run.ended ?? 0)),
  ).length;
}
