-- Requests that create something, under the keys by which their clients may send them again. A record commits with its effect.

create table auth.idempotency_keys (
  key_hash bytea primary key,
  user_id uuid references auth.users (id) on delete cascade,
  created_at timestamptz not null default now(),
  method text not null,
  request_hash bytea not null,
  response bytea not null default ''
);
create index idempotency_keys_by_time on auth.idempotency_keys (created_at);

comment on column auth.idempotency_keys.key_hash is 'Keyed hash of user, method and key; the key itself stands nowhere.';
comment on column auth.idempotency_keys.user_id is 'Unset where the method is open to anybody.';
comment on column auth.idempotency_keys.request_hash is 'Keyed hash: requests hold passwords.';
comment on column auth.idempotency_keys.response is 'Sealed by the key itself: answers hold secrets that stand nowhere else.';

grant select, insert, update, delete on auth.idempotency_keys to turnwright_auth;
grant select, insert, update on auth.idempotency_keys to turnwright_auth_user;

alter table auth.idempotency_keys enable row level security, force row level security;
create policy for_service on auth.idempotency_keys to turnwright_auth using (true);
create policy for_user on auth.idempotency_keys to turnwright_auth_user
  using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
