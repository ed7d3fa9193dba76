-- Revocation wins every race: who makes a credential holds the account's row in share mode and then looks at what it makes it from; who ends
-- credentials holds the row alone. Invites, for systems whose registration is not open.

alter table auth.user_tokens add column secret_version integer not null default 1;

comment on column auth.user_tokens.secret_version is 'Raised with each new secret: what an older one was let in by makes nothing more.';

create function auth.count_secret() returns trigger language plpgsql as $$
begin
  new.secret_version := old.secret_version + 1;
  return new;
end $$;
create trigger user_tokens_count_secret before update of token_hash on auth.user_tokens
  for each row when (new.token_hash <> old.token_hash) execute function auth.count_secret();

-- A user's role may hold that user's account and read what its credentials rest on. By `update (id)` it can lock the row and change nothing.
grant select (id, is_active, role), update (id) on auth.users to turnwright_auth_user;
create policy for_user on auth.users to turnwright_auth_user
  using (id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));

create table auth.invites (
  id uuid primary key,
  created_at timestamptz not null default now(),
  created_by uuid not null references auth.users (id) on delete cascade,
  secret_hash bytea not null,
  email text,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  used_at timestamptz,
  used_by uuid references auth.users (id) on delete set null,
  constraint invites_secret_hash_key unique (secret_hash),
  constraint invites_email_is_lower check (email = lower(email)),
  constraint invites_end_once check (used_at is null or revoked_at is null)
);
create index invites_by_time on auth.invites (created_at desc, id desc);
create index invites_by_creator on auth.invites (created_by) where used_at is null and revoked_at is null;
create index invites_by_user on auth.invites (used_by) where used_by is not null;

comment on table auth.invites is 'Each lets one person register, once. Ends with the power of the admin who made it.';
comment on column auth.invites.secret_hash is 'SHA-256 of the whole invite; the invite itself is stored nowhere.';
comment on column auth.invites.email is 'The only address that may register with it; unset: any.';

grant select, insert, update on auth.invites to turnwright_auth;
alter table auth.invites enable row level security, force row level security;
create policy for_service on auth.invites to turnwright_auth using (true);
