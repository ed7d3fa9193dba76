-- Lineage, limits and spending of credentials; revocation with the database as authority; the audit log.

alter table auth.user_tokens
  add column rotated_at timestamptz,
  add column max_concurrent integer not null default 0 check (max_concurrent >= 0),
  add column spend_limit_micros bigint check (spend_limit_micros > 0),
  add column spent_micros bigint not null default 0 check (spent_micros >= 0);

comment on column auth.user_tokens.rotated_at is 'When a refresh token was replaced by its child; unset for one that was revoked.';
comment on column auth.user_tokens.parent_id is 'Of a refresh token: the one it replaced. Of an API key: the key that created it, with which it ends.';
comment on column auth.user_tokens.spent_micros is 'Millionths of a US dollar, what running requests have reserved included.';

create index user_tokens_by_parent on auth.user_tokens (parent_id) where parent_id is not null;

-- What ended, by the token_id of identities. Everybody who caches credentials reads it.
create table auth.revocations (
  id bigint generated always as identity primary key,
  revoked_at timestamptz not null default clock_timestamp(),
  token_id uuid not null
);
create index revocations_by_time on auth.revocations (revoked_at);

-- A trigger, so that whatever ends a credential, an operator's own statement too, is known everywhere.
create function auth.note_revoked_token() returns trigger language plpgsql as $$
begin
  if (new.is_revoked and not old.is_revoked and new.rotated_at is null)
    or (new.token_type = 'api_key' and not new.is_revoked and (
      new.token_hash <> old.token_hash or new.allowed_tools <> old.allowed_tools or new.allowed_models <> old.allowed_models
      or new.expires_at is distinct from old.expires_at or new.spend_limit_micros is distinct from old.spend_limit_micros
      or new.rate_limit_per_minute <> old.rate_limit_per_minute or new.rate_limit_per_day <> old.rate_limit_per_day
      or new.max_concurrent <> old.max_concurrent))
  then
    insert into auth.revocations (token_id)
    values (case when new.token_type = 'refresh' then new.family_id else new.id end);
  end if;
  return null;
end $$;
create trigger user_tokens_note_revoked after update on auth.user_tokens
  for each row execute function auth.note_revoked_token();

create function auth.note_deleted_token() returns trigger language plpgsql as $$
begin
  if not old.is_revoked then
    insert into auth.revocations (token_id)
    values (case when old.token_type = 'refresh' then old.family_id else old.id end);
  end if;
  return null;
end $$;
create trigger user_tokens_note_deleted after delete on auth.user_tokens
  for each row execute function auth.note_deleted_token();

-- What an account may do is read with its credentials, so a change ends what is cached of all of them.
create function auth.note_changed_user() returns trigger language plpgsql as $$
begin
  if new.is_active <> old.is_active or new.role <> old.role then
    insert into auth.revocations (token_id)
    select distinct case when token_type = 'refresh' then family_id else id end
    from auth.user_tokens where user_id = new.id and not is_revoked;
  end if;
  return null;
end $$;
create trigger users_note_changed after update on auth.users
  for each row execute function auth.note_changed_user();

-- Failed logins of the last quarter of an hour, by account, by address and by both.
create table auth.login_attempts (
  key bytea primary key,
  window_start timestamptz not null default now(),
  failures integer not null
);
create index login_attempts_by_time on auth.login_attempts (window_start);

comment on column auth.login_attempts.key is 'SHA-256 of what is counted; neither addresses nor accounts stand here.';

-- Money that running requests have set aside.
create table auth.spend_reservations (
  id uuid primary key,
  token_id uuid not null references auth.user_tokens (id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  settled_at timestamptz,
  amount_micros bigint not null check (amount_micros >= 0)
);
create index spend_reservations_open on auth.spend_reservations (expires_at) where settled_at is null;

create table auth.usage (
  user_id uuid not null references auth.users (id) on delete cascade,
  token_id uuid not null,
  day date not null,
  model text not null,
  requests bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cost_micros bigint not null,
  primary key (user_id, day, token_id, model)
);

-- The audit log: each entry holds the hash of the one before it; nothing is ever changed or taken out.
create table auth.audit_log (
  seq bigint primary key,
  at timestamptz not null,
  event text not null,
  previous_hash bytea not null,
  hash bytea not null
);
create table auth.audit_head (
  only_one boolean primary key default true check (only_one),
  seq bigint not null,
  hash bytea not null
);
insert into auth.audit_head (seq, hash) values (0, sha256('turnwright audit log'));

create function auth.chain_audit_event() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  head auth.audit_head;
begin
  select * into strict head from auth.audit_head for update;
  new.seq := head.seq + 1;
  new.at := clock_timestamp();
  new.previous_hash := head.hash;
  new.hash := sha256(head.hash || convert_to(
    new.seq || '|' || to_char(new.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || new.event, 'UTF8'));
  update auth.audit_head set seq = new.seq, hash = new.hash;
  return new;
end $$;
create trigger audit_log_chain before insert on auth.audit_log
  for each row execute function auth.chain_audit_event();

create function auth.refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_log_append_only before update or delete on auth.audit_log
  for each row execute function auth.refuse_audit_change();
create trigger audit_log_no_truncate before truncate on auth.audit_log
  for each statement execute function auth.refuse_audit_change();
