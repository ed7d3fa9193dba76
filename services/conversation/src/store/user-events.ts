import type { Queryable } from "@turnwright/platform/postgres/pool";
import type pg from "pg";

/** A change as it is stored for the streams of its user. */
export interface UserEvent {
  readonly id: number;
  readonly userId: string;
  /** Microseconds since 1970 by the database's clock. */
  readonly atUs: number;
  /** UUID of what has changed. */
  readonly subject: string;
  readonly type: string;
  readonly runId: string;
  readonly conversationId: string;
  readonly status: string;
  /** Of a run: its newest log entry. */
  readonly seq: number;
  readonly callId: string;
  readonly toolName: string;
}

/** How much of a user's is open. */
export interface Counts {
  readonly pending: number;
  readonly needsReview: number;
  readonly running: number;
}

/** More of a kind than this counts as this. */
const mostCounted = 10_000;
/** The most events of one read. */
const readAtOnce = 2_000;
/** Minutes for which events are kept, and a stream of the last `resumeMinutes` can be continued. */
const keptMinutes = 10;
/** Seconds before a position that are told again: a transaction may commit after a later event was told. */
const overlapSeconds = 5;
/** Minutes of silence after which a position cannot be continued. */
export const resumeMinutes = 8;
/** Minutes for which a user's changes are noted after a stream was last seen. */
const listenMinutes = 30;

const microseconds = (time: string) => `(extract(epoch from ${time}) * 1000000)::bigint`;
const timeOf = (parameter: string) => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 microsecond'`;

interface EventRow {
  readonly id: number;
  readonly user_id: string;
  readonly at_us: number;
  readonly subject: string;
  readonly type: string;
  readonly run_id: string | null;
  readonly conversation_id: string | null;
  readonly status: string;
  readonly seq: number;
  readonly call_id: string;
  readonly tool_name: string;
}

const eventColumns = `id, user_id, ${microseconds("created_at")} as at_us, subject, type, run_id, conversation_id, status, seq,
  call_id, tool_name`;

function toEvent(row: EventRow): UserEvent {
  return {
    id: Number(row.id),
    userId: row.user_id,
    atUs: Number(row.at_us),
    subject: row.subject,
    type: row.type,
    runId: row.run_id ?? "",
    conversationId: row.conversation_id ?? "",
    status: row.status,
    seq: row.seq,
    callId: row.call_id,
    toolName: row.tool_name,
  };
}

const listenSql = `
insert into event_listeners (user_id, until)
select user_id, now() + interval '${listenMinutes} minutes' from unnest($1::uuid[]) as l(user_id) order by user_id
on conflict (user_id) do update
set until = excluded.until,
  since = case when event_listeners.until > now() then event_listeners.since else clock_timestamp() end
returning user_id, ${microseconds("since")} as since_us, ${microseconds("clock_timestamp()")} as now_us`;

/** Since when the changes of a user have been noted, and the time of the database. */
export interface Listening {
  readonly sinceUs: number;
  readonly nowUs: number;
}

/** Has the changes of users noted from now on, for half an hour. */
export async function listenTo(db: Queryable, userIds: readonly string[]): Promise<ReadonlyMap<string, Listening>> {
  const { rows } = await db.query<{ user_id: string; since_us: number; now_us: number }>({
    name: "events-listen",
    text: listenSql,
    values: [userIds],
  });
  return new Map(rows.map((row) => [row.user_id, { sinceUs: Number(row.since_us), nowUs: Number(row.now_us) }]));
}

const sinceSql = `
select ${eventColumns} from user_events
where created_at > ${timeOf("$1")}
order by created_at, id
limit ${readAtOnce + 1}`;

/**
 * The changes of all users after a time, oldest first. `isWhole` is false when there are more than one read takes.
 */
export async function listEventsSince(pool: pg.Pool, afterUs: number): Promise<{ events: UserEvent[]; isWhole: boolean }> {
  const { rows } = await pool.query<EventRow>({ name: "events-since", text: sinceSql, values: [afterUs] });
  return { events: rows.slice(0, readAtOnce).map(toEvent), isWhole: rows.length <= readAtOnce };
}

const missedSql = `
select ${eventColumns} from user_events
where user_id = $1 and created_at > ${timeOf("$2")} - interval '${overlapSeconds} seconds'
order by created_at, id
limit $3`;

/** A user's changes after a position, and those of the seconds before it; one more than `limit` when there are more. */
export async function listMissedEvents(
  db: Queryable,
  asked: { userId: string; afterUs: number; limit: number },
): Promise<UserEvent[]> {
  const values = [asked.userId, asked.afterUs, asked.limit + 1];
  const { rows } = await db.query<EventRow>({ name: "events-missed", text: missedSql, values });
  return rows.map(toEvent);
}

const countOf = (table: string, condition: string) =>
  `(select count(*)::integer from (select from ${table} where user_id = u.user_id and ${condition} limit ${mostCounted}) o)`;

const countsSql = `
select u.user_id, ${countOf("approvals", "status = 'pending'")} as pending,
  ${countOf("runs", "status = 'needs_review'")} as needs_review,
  ${countOf("runs", "status = 'queued'")} + ${countOf("runs", "status = 'running'")} as running
from unnest($1::uuid[]) as u(user_id)`;

/** The counts of users, by keys of partial indexes. */
export async function countOpen(db: Queryable, userIds: readonly string[]): Promise<ReadonlyMap<string, Counts>> {
  const { rows } = await db.query<{ user_id: string; pending: number; needs_review: number; running: number }>({
    name: "events-counts",
    text: countsSql,
    values: [userIds],
  });
  return new Map(
    rows.map(({ user_id, pending, needs_review: needsReview, running }) => [
      user_id,
      { pending, needsReview, running: Math.min(running, mostCounted) },
    ]),
  );
}

const endedSql = `
insert into user_events (user_id, subject, type)
select l.user_id, $2, $3 from event_listeners l where l.user_id = $1 and l.until > now()
on conflict (subject) where type in ('key.revoked', 'session.ended') do nothing`;

/** Notes the end of a credential once, if somebody listens to its user. Returns whether it was noted. */
export async function noteEndedCredential(
  pool: pg.Pool,
  ended: { userId: string; tokenId: string; type: "key.revoked" | "session.ended" },
): Promise<boolean> {
  const values = [ended.userId, ended.tokenId, ended.type];
  const { rowCount } = await pool.query({ name: "events-ended", text: endedSql, values });
  return rowCount === 1;
}

/** Deletes events that no stream needs any more, and users to whom nobody listens. */
export async function pruneUserEvents(pool: pg.Pool): Promise<void> {
  await pool.query(`delete from user_events where created_at < now() - interval '${keptMinutes} minutes'`);
  await pool.query("delete from event_listeners where until < now()");
}
