import type pg from "pg";
import { createGroupWriter, type GroupLimits, rowsSource, rowValues } from "../group-commit.ts";
import { conversationColumns } from "../rows.ts";
import {
  type FullOpening,
  isNew,
  type OpenedRow,
  type OpeningItem,
  openingColumns,
  openingItem,
  unlessTaken,
} from "./opening.ts";

/**
 * The only locks that others wait for are those of unique indexes and of users' totals. Runs are inserted in the order
 * of their keys, then totals in the order of their users; every statement here updates totals last. Exported for the
 * test of its plan.
 */
export const openNewSql = (rows: "many" | "one"): string => `
with item as materialized (
  select i.* from ${rowsSource(openingColumns, rows)}${rows === "many" ? ` where ${isNew}` : ""}
), opened as (
  insert into conversations (id, user_id, title, agent_type, message_count, active_run_id)
  select conversation_id, user_id, title, agent_type, 1, run_id from item
  returning ${conversationColumns}, active_run_id
), said as (
  insert into messages (conversation_id, id, run_id, sequence_number, role, content, parts)
  select conversation_id, message_id, run_id, 1, 'user', message, parts from item
), started as (
  insert into runs (run_id, conversation_id, user_id, token_id, family_id, status, epoch, owner, graph_version, deadline_seconds,
    deadline_at, state, idempotency_key, request_hash)
  select run_id, conversation_id, user_id, token_id, family_id, case when background then 'queued' else 'running' end,
    (background is false)::integer, case when background then '' else owner end, graph_version, deadline_seconds,
    case when background then null else now() + deadline_seconds * interval '1 second' end, state::json, idempotency_key,
    decode(request_hash, 'hex')
  from item
  order by user_id, idempotency_key, run_id
  returning status
), counted as (
  insert into user_totals (user_id, conversations)
  select user_id, count(*) from item where (select count(*) from started) > 0 group by user_id order by user_id
  on conflict (user_id) do update set conversations = user_totals.conversations + excluded.conversations
)
select o.active_run_id as run_id, row_to_json(o) as conversation, null as live, null as live_run_id, true as known,
  null as messages,
  now() as at
from opened o`;

const groupStatement = { name: "runs-begin-new", text: openNewSql("many") };
const singleStatement = { name: "run-begin-new", text: openNewSql("one") };

/**
 * Makes the function that begins runs in new conversations, grouped. It returns undefined when the run or its key
 * exists already.
 */
export function createOpenNew(pool: pg.Pool, limits: GroupLimits): (opening: FullOpening) => Promise<OpenedRow | undefined> {
  const write = createGroupWriter<OpeningItem, Omit<OpenedRow, "queued"> | undefined>(
    pool,
    {
      together: () => groupStatement,
      alone: async ({ row }) =>
        (await unlessTaken(pool.query<OpenedRow>({ ...singleStatement, values: rowValues(openingColumns, row) })))?.rows[0],
    },
    limits,
  );
  return async (opening) => {
    const opened = await write(openingItem(opening));
    return opened === undefined ? undefined : { ...opened, queued: opening.request.background };
  };
}
