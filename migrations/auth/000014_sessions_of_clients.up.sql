-- Sessions tell their owner from which client they were opened, and are found by their id.
alter table auth.user_tokens
  add column user_agent text not null default '',
  add column address text not null default '';

comment on column auth.user_tokens.user_agent is 'Of a session: how the client names itself, at the login and after each refresh; cut.';
comment on column auth.user_tokens.address is 'Of a session: the client''s address at the login and after each refresh.';

create index user_tokens_of_session on auth.user_tokens (family_id) where token_type = 'refresh';
