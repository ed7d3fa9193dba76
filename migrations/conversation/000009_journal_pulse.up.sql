-- Silence of a worker counts only while the journal could have heard it.

create table conversation.journal_pulse (
  is_only boolean primary key default true check (is_only),
  seen_at timestamptz not null,
  since timestamptz not null
) with (fillfactor = 50);

comment on column conversation.journal_pulse.seen_at is 'When a process of the conversation service last wrote here; each does so twice a second.';
comment on column conversation.journal_pulse.since is 'Since when this has been going on without a gap.';

grant select, insert, update, delete on conversation.journal_pulse to turnwright_conversation;
alter table conversation.journal_pulse enable row level security, force row level security;
create policy for_service on conversation.journal_pulse to turnwright_conversation using (true);

alter table conversation.workers
  add column back_at timestamptz,
  add column has_left boolean not null default false;

comment on column conversation.workers.back_at is 'When it was heard of again after a silence by which it would have lost its runs.';
comment on column conversation.workers.has_left is 'It said that it drives nothing any more.';
