-- The record of conversations and the journal of their runs.
--
-- Foreign keys stand where rows are few (runs, approvals). Messages and run_events have none: they are written only by statements
-- that hold the row they belong to, rows are never taken away one by one, and a check for each message would cost as much as the
-- insert. Column order: wide fixed types first, so that rows carry no padding.

create table conversation.conversations (
  id uuid primary key,
  user_id uuid not null,
  active_run_id uuid,
  total_tokens bigint not null default 0,
  total_cost double precision not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_message_at timestamptz not null default now(),
  completed_at timestamptz,
  deleted_at timestamptz,
  message_count integer not null default 0,
  tool_call_count integer not null default 0,
  temperature real,
  title text not null default '',
  status text not null default 'active'
    check (status in ('active', 'pending_approval', 'completed', 'failed', 'archived')),
  agent_type text not null default '',
  model text not null default '',
  current_node text not null default '',
  system_prompt text,
  tags text[] not null default '{}',
  workflow_state jsonb,
  metadata jsonb
) with (fillfactor = 80);

comment on column conversation.conversations.message_count is
  'Also the sequence number of the newest message: the row''s lock is what keeps the numbers without gaps.';

comment on column conversation.conversations.active_run_id is
  'The live run. A begin that waited for this row reads it here as it is now, where its older view of runs would mislead it.';

-- A page of a user's list. No column in it changes with a turn, so turns update the row in place (HOT).
create index conversations_by_user on conversation.conversations (user_id, created_at desc, id desc) where deleted_at is null;

-- How many live conversations a user has, so that a list's total counts nothing.
create table conversation.user_totals (
  user_id uuid primary key,
  conversations integer not null default 0
) with (fillfactor = 50);

-- The key is the way in which messages are read; their own ids are only ever returned.
create table conversation.messages (
  conversation_id uuid not null,
  id uuid not null,
  created_at timestamptz not null default now(),
  sequence_number integer not null,
  prompt_tokens integer not null default 0,
  completion_tokens integer not null default 0,
  latency_ms integer not null default 0,
  is_streaming boolean not null default false,
  stream_complete boolean not null default true,
  role text not null check (role in ('system', 'user', 'assistant', 'tool')),
  content text not null default '',
  name text not null default '',
  tool_calls json,
  tool_call_id text not null default '',
  model text not null default '',
  primary key (conversation_id, sequence_number)
);

create table conversation.runs (
  run_id uuid primary key,
  conversation_id uuid not null references conversation.conversations (id) on delete cascade,
  user_id uuid not null,
  token_id uuid,
  cost double precision not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deadline_at timestamptz,
  wake_at timestamptz,
  epoch integer not null default 0,
  seq integer not null default 0,
  attempt integer not null default 0,
  graph_version integer not null default 0,
  deadline_seconds integer not null default 600,
  prompt_tokens integer not null default 0,
  completion_tokens integer not null default 0,
  total_tokens integer not null default 0,
  tool_call_count integer not null default 0,
  cancel_requested boolean not null default false,
  status text not null
    check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'needs_review')),
  node text not null default '',
  owner text not null default '',
  agent text not null default '',
  model text not null default '',
  error text not null default '',
  idempotency_key text,
  state json
) with (fillfactor = 80);

comment on column conversation.runs.epoch is 'Raised by every claim; a commit that carries another one is refused.';
comment on column conversation.runs.seq is 'Number of the newest row in run_events.';
comment on column conversation.runs.state is 'json, not jsonb: the driver''s text comes back as it was written.';

-- One live run a conversation, and the way to it. Begins rely on active_run_id and never meet this limit: a unique index makes a
-- second writer wait for the first while it holds the conversation.
create unique index runs_live on conversation.runs (conversation_id) where status in ('queued', 'running', 'waiting');

create table conversation.run_events (
  run_id uuid not null,
  created_at timestamptz not null default now(),
  seq integer not null,
  type text not null,
  payload json,
  primary key (run_id, seq)
);

create table conversation.approvals (
  id uuid primary key,
  conversation_id uuid not null,
  run_id uuid not null references conversation.runs (run_id) on delete cascade,
  user_id uuid not null,
  decided_by uuid,
  created_at timestamptz not null default now(),
  decided_at timestamptz,
  epoch integer not null,
  position integer not null,
  status text not null default 'pending' check (status in ('pending', 'approved', 'rejected')),
  call_id text not null,
  tool_name text not null,
  tool_version text not null default '',
  arguments text not null,
  reason text not null default ''
);

comment on column conversation.approvals.epoch is 'The run''s epoch when it parked: what tells this round from those before.';
comment on column conversation.approvals.arguments is 'text, not json: grants carry the hash of exactly these bytes.';

-- The calls of one round of a run.
create unique index approvals_by_run on conversation.approvals (run_id, epoch, call_id);
-- What waits for a person.
create index approvals_pending on conversation.approvals (user_id, conversation_id) where status = 'pending';
