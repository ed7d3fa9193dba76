-- Requests that create a webhook or its secret, under the keys by which their clients may send them again. A record commits with its
-- effect.

create table conversation.idempotency_keys (
  key_hash bytea primary key,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  method text not null,
  request_hash bytea not null,
  response bytea not null default ''
);
create index idempotency_keys_by_time on conversation.idempotency_keys (created_at);

comment on column conversation.idempotency_keys.key_hash is 'Keyed hash of user, method and key; the key itself stands nowhere.';
comment on column conversation.idempotency_keys.request_hash is 'Keyed hash of the request.';
comment on column conversation.idempotency_keys.response is 'Sealed by the key itself: answers hold secrets of webhooks.';

grant select, delete on conversation.idempotency_keys to turnwright_conversation;
grant select, insert, update on conversation.idempotency_keys to turnwright_conversation_user;

alter table conversation.idempotency_keys enable row level security, force row level security;
create policy for_service on conversation.idempotency_keys to turnwright_conversation using (true);
create policy for_user on conversation.idempotency_keys to turnwright_conversation_user
  using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
