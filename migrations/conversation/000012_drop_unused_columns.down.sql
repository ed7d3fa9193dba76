alter table conversation.conversations
  add column completed_at timestamptz,
  add column temperature real,
  add column system_prompt text,
  add column workflow_state jsonb,
  add column metadata jsonb;

alter table conversation.messages
  add column is_streaming boolean not null default false,
  add column stream_complete boolean not null default true;
