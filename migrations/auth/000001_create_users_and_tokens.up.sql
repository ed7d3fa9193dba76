-- Accounts, credentials and the keys that sign tokens.

create table auth.users (
  id uuid primary key,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  is_active boolean not null default true,
  email text not null,
  password_hash text not null,
  name text not null default '',
  role text not null default 'user' check (role in ('admin', 'user', 'agent')),
  metadata jsonb not null default '{}',
  constraint users_email_key unique (email),
  constraint users_email_is_lower check (email = lower(email))
);

-- One row for each refresh token and API key; a login's session is a family of refresh tokens, each the parent of the next.
create table auth.user_tokens (
  id uuid primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  family_id uuid not null,
  parent_id uuid references auth.user_tokens (id) on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  rate_limit_per_minute integer not null,
  rate_limit_per_day integer not null,
  is_revoked boolean not null default false,
  token_hash bytea not null,
  token_type text not null check (token_type in ('refresh', 'api_key')),
  name text not null default '',
  prefix text not null default '',
  allowed_tools text[] not null default '{}',
  allowed_models text[] not null default '{}',
  metadata jsonb not null default '{}',
  constraint user_tokens_token_hash_key unique (token_hash)
);

comment on column auth.user_tokens.token_hash is 'SHA-256 of the whole token; the token itself is stored nowhere.';

-- The live refresh token of a session: one at most, so two refreshes at once cannot both succeed.
create unique index user_tokens_live_session on auth.user_tokens (family_id) where token_type = 'refresh' and not is_revoked;
create index user_tokens_by_user on auth.user_tokens (user_id, token_type, created_at desc);

create table auth.signing_keys (
  kid text primary key,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  private_jwk jsonb not null,
  public_jwk jsonb not null
);
