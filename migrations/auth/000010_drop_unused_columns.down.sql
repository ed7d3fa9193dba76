alter table auth.users add column metadata jsonb not null default '{}';
alter table auth.user_tokens add column metadata jsonb not null default '{}';
