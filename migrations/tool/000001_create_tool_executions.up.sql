-- The ledger of tool calls. A call of a run is claimed here before it acts, and its row keeps the result, so that it
-- never runs twice. Direct calls and calls of stateless completions have no run; their rows are inserted when they have
-- ended.
--
-- There are no foreign keys: runs, messages and users live in other services' schemas. Wide fixed types come first, so
-- that rows carry no padding.

create table tool.tool_executions (
  id uuid primary key,
  run_id uuid,
  conversation_id uuid,
  message_id uuid,
  user_id uuid not null,
  token_id uuid,
  approved_by uuid,
  created_at timestamptz not null default now(),
  queued_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  approved_at timestamptz,
  lease_until timestamptz,
  duration_ms integer,
  epoch integer not null default 0,
  claim integer not null default 1,
  requires_approval boolean not null default false,
  tool_call_id text not null,
  tool_name text not null,
  tool_version text not null,
  effect text not null check (effect in ('read', 'idempotent', 'once')),
  status text not null
    check (status in ('pending', 'running', 'success', 'failed', 'cancelled', 'requires_approval', 'unknown')),
  arguments_hash text not null,
  input json not null,
  output json,
  error_message text,
  constraint tool_executions_call unique (run_id, tool_call_id),
  constraint tool_executions_lease check (run_id is null or status <> 'running' or lease_until is not null)
) with (fillfactor = 80);

comment on column tool.tool_executions.claim is
  'How often the call was taken up. A result is stored only under the claim that it was made by.';
comment on column tool.tool_executions.lease_until is
  'The process that runs the call moves this forward. Once it has passed, the process is taken for dead.';
comment on column tool.tool_executions.status is
  'unknown: a call with effect once that had begun, and nobody knows how it ended. It never runs again.';
comment on column tool.tool_executions.approved_by is
  'Left to audits; who approved a call stands in conversation.approvals, and the grant proves that somebody did.';

-- The calls of a user, newest first.
create index tool_executions_by_user on tool.tool_executions (user_id, created_at desc);
