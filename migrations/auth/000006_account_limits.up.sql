-- Limits of accounts, and money that is set aside under more than one ceiling.

alter table auth.users
  add column rate_limit_per_minute integer check (rate_limit_per_minute >= 0),
  add column rate_limit_per_day integer check (rate_limit_per_day >= 0),
  add column max_concurrent integer check (max_concurrent >= 0),
  add column spend_limit_micros bigint check (spend_limit_micros >= 0),
  add column spent_micros bigint not null default 0 check (spent_micros >= 0);

comment on column auth.users.rate_limit_per_minute is 'Of all the account''s credentials together, as the other limits are. Null: the system''s default; 0: no limit.';
comment on column auth.users.spent_micros is 'Millionths of a US dollar, counted while the account has a ceiling; what running requests have reserved included.';

-- A session's reservation stands under the session's id, which is no row's.
alter table auth.spend_reservations
  drop constraint spend_reservations_token_id_fkey,
  add column charged_keys uuid[] not null default '{}',
  add column charged_user uuid;

update auth.spend_reservations set charged_keys = array[token_id];

comment on column auth.spend_reservations.charged_keys is 'The API keys under whose ceilings the money is set aside: those with one, from the token''s own upwards.';
comment on column auth.spend_reservations.charged_user is 'The account under whose ceiling the money is set aside, if it has one.';

-- What is cached of a key holds the limits of those from which it descends: a change of theirs ends it.
create function auth.note_changed_key_limits() returns trigger language plpgsql as $$
begin
  if new.token_type = 'api_key' and (new.spend_limit_micros is distinct from old.spend_limit_micros
    or new.rate_limit_per_minute <> old.rate_limit_per_minute or new.rate_limit_per_day <> old.rate_limit_per_day
    or new.max_concurrent <> old.max_concurrent)
  then
    insert into auth.revocations (token_id)
    with recursive descendant as (
      select id, is_revoked from auth.user_tokens where parent_id = new.id and token_type = 'api_key'
      union
      select child.id, child.is_revoked from auth.user_tokens child
      join descendant on child.parent_id = descendant.id where child.token_type = 'api_key'
    )
    select id from descendant where not is_revoked;
  end if;
  return null;
end $$;
create trigger user_tokens_note_limits
  after update of rate_limit_per_minute, rate_limit_per_day, max_concurrent, spend_limit_micros on auth.user_tokens
  for each row execute function auth.note_changed_key_limits();
