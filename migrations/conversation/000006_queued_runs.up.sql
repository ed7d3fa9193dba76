-- Runs that wait for their turn, and logs that tell what was said.

alter table conversation.runs
  add column input text,
  add column priority smallint not null default 0,
  add column request_hash bytea,
  add column receipts json;

comment on column conversation.runs.input is 'The user''s message until the run begins; then it stands in messages.';
comment on column conversation.runs.priority is 'Runs with a greater one go first in their conversation.';
comment on column conversation.runs.request_hash is 'Hash of what was asked under the idempotency key.';
comment on column conversation.runs.receipts is 'What became of the calls that were open when the run was cancelled.';

alter table conversation.run_events
  add column first_message integer,
  add column messages integer not null default 0;

comment on column conversation.run_events.first_message is 'sequence_number of the first of the messages that the entry tells of.';

-- A run in review holds its conversation as one does that waits for approvals.
drop index conversation.runs_live;
create unique index runs_live on conversation.runs (conversation_id) where status in ('running', 'waiting', 'needs_review');
create index runs_queued on conversation.runs (conversation_id, priority desc, created_at, run_id) where status = 'queued';
create unique index runs_idempotency on conversation.runs (user_id, idempotency_key) where idempotency_key is not null;
create index runs_by_user on conversation.runs (user_id, created_at desc, run_id desc);
create index runs_by_conversation on conversation.runs (conversation_id, created_at desc, run_id desc);
