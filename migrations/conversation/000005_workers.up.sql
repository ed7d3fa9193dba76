-- Who drives runs, and when each was last heard of, by the database's clock.

create table conversation.workers (
  owner text primary key,
  seen_at timestamptz not null default now()
) with (fillfactor = 50);

create index runs_by_owner on conversation.runs (owner) where status = 'running';

grant select, insert, update, delete on conversation.workers to turnwright_conversation;
alter table conversation.workers enable row level security, force row level security;
create policy for_service on conversation.workers to turnwright_conversation using (true);
