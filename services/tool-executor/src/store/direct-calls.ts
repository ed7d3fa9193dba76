import type { Queryable } from "@turnwright/platform/postgres/pool";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { CallResult } from "../calls/call-result.ts";
import type { CheckedCall } from "../calls/checked-call.ts";
import { columnsOf, uuidOrNull } from "./calls.ts";

/** A call that has ended and belongs to no run. */
export interface DirectCall {
  readonly call: CheckedCall;
  readonly result: CallResult;
  readonly userId: string;
  readonly tokenId: string;
}

const insertSql = `
insert into tool_executions (id, user_id, token_id, status, output, error_message, duration_ms, queued_at, started_at,
  completed_at, tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)
select c.id, c.user_id, c.token_id, c.status, c.output::json, c.error_message, c.duration_ms,
  now() - c.duration_ms * interval '1 millisecond', now() - c.duration_ms * interval '1 millisecond', now(),
  c.tool_call_id, c.tool_name, c.tool_version, c.effect, c.requires_approval, c.input::json, c.arguments_hash
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::integer[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::text[], $14::text[])
  as c(id, user_id, token_id, status, output, error_message, duration_ms,
    tool_call_id, tool_name, tool_version, effect, requires_approval, input, arguments_hash)`;

/** Records calls without a run, after they have ended. */
export async function insertDirectCalls(db: Queryable, calls: readonly DirectCall[]): Promise<void> {
  await db.query(insertSql, [
    calls.map(() => uuidv7()),
    calls.map(({ userId }) => userId),
    calls.map(({ tokenId }) => uuidOrNull(tokenId)),
    calls.map(({ result }) => result.status),
    calls.map(({ result }) => result.output),
    calls.map(({ result }) => result.error),
    calls.map(({ result }) => result.durationMs),
    ...columnsOf(calls.map(({ call }) => call)),
  ]);
}
