-- Changes that a user's event streams tell. Rows are written only while somebody listens, and live for minutes.

create table conversation.event_listeners (
  user_id uuid primary key,
  since timestamptz not null default clock_timestamp(),
  until timestamptz not null
);

comment on column conversation.event_listeners.since is 'Since when every change of this user has been noted, without a gap.';
comment on column conversation.event_listeners.until is 'Until when changes are noted; processes with streams put it off.';

create table conversation.user_events (
  user_id uuid not null,
  id bigint generated always as identity primary key,
  subject uuid not null,
  run_id uuid,
  conversation_id uuid,
  created_at timestamptz not null default clock_timestamp(),
  seq integer not null default 0,
  type text not null,
  status text not null default '',
  call_id text not null default '',
  tool_name text not null default ''
);

comment on column conversation.user_events.subject is 'What has changed: a run, an approval, or a credential.';
comment on column conversation.user_events.created_at is 'The clock, not the start of the transaction.';
comment on column conversation.user_events.seq is 'Of a run: its newest log entry, which orders its changes.';

create index user_events_by_time on conversation.user_events (created_at);
create index user_events_by_user on conversation.user_events (user_id, created_at);
-- Each process notes a credential's end; one does.
create unique index user_events_of_credentials on conversation.user_events (subject)
  where type in ('key.revoked', 'session.ended');

-- The counts with which a stream begins.
create index runs_open on conversation.runs (user_id, status) where status in ('queued', 'running', 'needs_review');

-- In the transaction of the change itself: neither stands without the other.
create function conversation.note_run_event() returns trigger language plpgsql as $$
begin
  -- Nearly every change ends here: to look costs less than to begin an insert of nothing.
  if not exists (select from conversation.event_listeners where user_id = new.user_id and until > now()) then
    return null;
  end if;
  insert into conversation.user_events (user_id, subject, run_id, conversation_id, seq, type, status)
  values (new.user_id, new.run_id, new.run_id, new.conversation_id, new.seq, 'run.changed', new.status);
  return null;
end $$;

create function conversation.note_approval_event() returns trigger language plpgsql as $$
begin
  if not exists (select from conversation.event_listeners where user_id = new.user_id and until > now()) then
    return null;
  end if;
  insert into conversation.user_events (user_id, subject, run_id, conversation_id, type, status, call_id, tool_name)
  values (
    new.user_id, new.id, new.run_id, new.conversation_id,
    case
      when new.status = 'pending' then 'approval.created'
      when new.status = 'rejected' and new.decided_by is null and new.reason = 'expired' then 'approval.expired'
      else 'approval.decided'
    end,
    new.status, new.call_id, new.tool_name
  );
  return null;
end $$;

create trigger runs_events_insert after insert on conversation.runs
  for each row execute function conversation.note_run_event();
create trigger runs_events_update after update of status on conversation.runs
  for each row when (new.status is distinct from old.status) execute function conversation.note_run_event();
create trigger approvals_events_insert after insert on conversation.approvals
  for each row execute function conversation.note_approval_event();
create trigger approvals_events_update after update of status on conversation.approvals
  for each row when (new.status is distinct from old.status) execute function conversation.note_approval_event();

grant select, insert, update, delete on conversation.event_listeners, conversation.user_events
  to turnwright_conversation, turnwright_conversation_user;

alter table conversation.event_listeners enable row level security, force row level security;
alter table conversation.user_events enable row level security, force row level security;

create policy for_service on conversation.event_listeners to turnwright_conversation using (true);
create policy for_service on conversation.user_events to turnwright_conversation using (true);
create policy for_user on conversation.event_listeners to turnwright_conversation_user
  using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
create policy for_user on conversation.user_events to turnwright_conversation_user
  using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
