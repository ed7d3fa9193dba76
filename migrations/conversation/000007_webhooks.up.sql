-- Addresses that are told of what becomes of their owner's runs, and the outbox of what they are to be told.
--
-- Deliveries have no foreign key on webhooks: a run's commit writes them, and must neither wait for a change of the webhook nor fail
-- because it was deleted at that moment. What is left behind so is never sent, and is taken out with what is old.

create table conversation.webhooks (
  id uuid primary key,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  previous_secret_until timestamptz not null default '-infinity',
  leased_until timestamptz not null default '-infinity',
  resting_until timestamptz not null default '-infinity',
  epoch integer not null default 0,
  enabled boolean not null default true,
  url text not null,
  description text not null default '',
  disabled_reason text not null default '',
  events text[] not null default '{}',
  secret bytea not null check (length(secret) between 24 and 64),
  previous_secret bytea
) with (fillfactor = 70);

comment on column conversation.webhooks.leased_until is 'A worker sends to it until then: one delivery at a time.';
comment on column conversation.webhooks.resting_until is 'After a failure nothing is sent to it until then.';
comment on column conversation.webhooks.epoch is 'Raised by every claim; a worker of an older one lets go of nothing.';
comment on column conversation.webhooks.events is 'Of which it is told; empty: of all.';

create index webhooks_by_user on conversation.webhooks (user_id, created_at desc, id desc);

-- Ids are random, not sorted by time: they are made by the database, and lists go by created_at.
create table conversation.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  webhook_id uuid not null,
  user_id uuid not null,
  run_id uuid not null,
  conversation_id uuid not null,
  created_at timestamptz not null default now(),
  next_attempt_at timestamptz not null default now(),
  ended_at timestamptz,
  attempts integer not null default 0,
  response_status integer not null default 0,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  event text not null,
  run_error text not null default '',
  error text not null default ''
);

comment on column conversation.webhook_deliveries.run_error is 'What the run failed of, as it stood at the event.';
comment on column conversation.webhook_deliveries.error is 'What was wrong with the last attempt.';

create index webhook_deliveries_by_webhook on conversation.webhook_deliveries (webhook_id, created_at desc, id desc);
create index webhook_deliveries_pending on conversation.webhook_deliveries (webhook_id, next_attempt_at) where status = 'pending';
create index webhook_deliveries_ended on conversation.webhook_deliveries (ended_at) where status <> 'pending';

-- In the transaction of the change itself: neither stands without the other.
create function conversation.queue_webhook_deliveries() returns trigger language plpgsql as $$
begin
  -- Nearly every turn ends here: to look costs less than to begin an insert of nothing.
  if not exists (select from conversation.webhooks where user_id = new.user_id and enabled) then
    return null;
  end if;
  insert into conversation.webhook_deliveries (webhook_id, user_id, run_id, conversation_id, event, run_error)
  select id, user_id, new.run_id, new.conversation_id, 'run.' || new.status, new.error
  from conversation.webhooks
  where user_id = new.user_id and enabled and (events = '{}' or 'run.' || new.status = any (events));
  return null;
end $$;

create trigger runs_webhooks_insert after insert on conversation.runs
  for each row when (new.status in ('completed', 'failed', 'waiting', 'cancelled', 'needs_review'))
  execute function conversation.queue_webhook_deliveries();
create trigger runs_webhooks_update after update of status on conversation.runs
  for each row when (
    new.status is distinct from old.status and new.status in ('completed', 'failed', 'waiting', 'cancelled', 'needs_review')
  )
  execute function conversation.queue_webhook_deliveries();

grant select, update on conversation.webhooks to turnwright_conversation;
grant select, insert, update, delete on conversation.webhook_deliveries to turnwright_conversation;
grant select, insert, update, delete on conversation.webhooks, conversation.webhook_deliveries to turnwright_conversation_user;

alter table conversation.webhooks enable row level security, force row level security;
alter table conversation.webhook_deliveries enable row level security, force row level security;

create policy for_service on conversation.webhooks to turnwright_conversation using (true);
create policy for_service on conversation.webhook_deliveries to turnwright_conversation using (true);

create policy for_user on conversation.webhooks to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
-- What a user writes must be for that user's own webhook too.
create policy for_user on conversation.webhook_deliveries to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid))
with check (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid) and exists (
  select from conversation.webhooks w where w.id = webhook_id and w.user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid)
));
