import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { CommitRunRequest } from "@turnwright/contract/conversation/v1/journal_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import { runStatusName } from "../rows.ts";
import { type Committed, numbered } from "./committed.ts";

const knownSql = "select from runs where run_id = $1 and user_id = $2";

const repeatedSql = `
select s.conversation_id, s.before, (
  select json_agg(m.created_at order by m.sequence_number) from messages m
  where m.conversation_id = s.conversation_id and m.sequence_number > s.before and m.sequence_number <= s.before + $8::integer
) as times
from (
  select r.conversation_id, coalesce(min(e.first_message) - 1, 0) as before
  from runs r join run_events e on e.run_id = r.run_id
  where r.run_id = $1 and r.user_id = $2 and r.epoch = $3 and r.status = $4 and r.seq = $5::integer + $6::integer
    and e.seq > $5::integer
  group by r.conversation_id, r.run_id
  having json_agg(e.type order by e.seq)::jsonb = $7::jsonb and sum(e.messages) = $8::integer
) s`;

/**
 * The response to a step that no longer matches its run. A step that was committed before gets its first response
 * again, because the worker may not have received it. Throws NOT_FOUND or STALE_EPOCH for any other.
 */
export async function repeatedCommit(
  pool: pg.Pool,
  userId: string,
  request: CommitRunRequest,
  stored: readonly Message[],
): Promise<Committed> {
  const committed = await firstResponse(pool, userId, request, stored);
  if (committed !== undefined) return committed;
  const { rowCount } = await pool.query({ name: "run-known", text: knownSql, values: [request.runId, userId] });
  if (rowCount === 0) throw fail(ErrorReason.NOT_FOUND, "There is no such run.", { param: "run_id" });
  throw fail(ErrorReason.STALE_EPOCH, "This run has ended, is parked, or belongs to a newer owner.", { param: "epoch" });
}

async function firstResponse(
  pool: pg.Pool,
  userId: string,
  { runId, epoch, status, seq, events }: CommitRunRequest,
  stored: readonly Message[],
): Promise<Committed | undefined> {
  if (seq === undefined || events.length === 0) return undefined;
  const types = JSON.stringify(events.map(({ type }) => type));
  const { rows } = await pool.query<{ conversation_id: string; before: number; times: string[] | null }>({
    name: "run-commit-repeated",
    text: repeatedSql,
    values: [runId, userId, epoch, runStatusName(status), seq, events.length, types, stored.length],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  const { conversation_id: conversationId, before, times } = row;
  const messages = numbered(stored, { conversationId, before, times: times ?? [] });
  return { messages, seq: seq + events.length, nextRunId: "" };
}
