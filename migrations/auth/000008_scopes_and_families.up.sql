-- What a key may do by scopes; who belongs to whom among keys; what a key made ends with it, whoever ends it.

alter table auth.user_tokens
  add column scopes text[] not null default '{}',
  add column may_approve boolean not null default false;

comment on column auth.user_tokens.scopes is 'What an API key may do; empty: all that a key may.';
comment on column auth.user_tokens.may_approve is 'An API key that may decide on calls of runs that its own family started.';
comment on column auth.user_tokens.family_id is
  'Of a refresh token: the session. Of an API key: the first key of its lineage, which a login created.';

with recursive lineage as (
  select id, id as family_id from auth.user_tokens where token_type = 'api_key' and parent_id is null
  union all
  select child.id, lineage.family_id from auth.user_tokens child join lineage on child.parent_id = lineage.id
  where child.token_type = 'api_key'
)
update auth.user_tokens t set family_id = lineage.family_id
from lineage where t.id = lineage.id and t.family_id <> lineage.family_id;

-- Here and not in the service's statement, so that no writer can put a key into another family than that of its parent.
create function auth.inherit_family() returns trigger language plpgsql as $$
begin
  select family_id into strict new.family_id from auth.user_tokens where id = new.parent_id;
  return new;
end $$;
create trigger user_tokens_inherit_family before insert on auth.user_tokens
  for each row when (new.token_type = 'api_key' and new.parent_id is not null)
  execute function auth.inherit_family();

-- Keys that outlived the key that made them.
with recursive ended as (
  select id from auth.user_tokens where token_type = 'api_key' and (is_revoked or expires_at <= now())
  union
  select child.id from auth.user_tokens child join ended on child.parent_id = ended.id where child.token_type = 'api_key'
)
update auth.user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
where id in (select id from ended) and not is_revoked and (expires_at is null or expires_at > now());

create function auth.note_changed_key_rights() returns trigger language plpgsql as $$
begin
  insert into auth.revocations (token_id) values (new.id);
  return null;
end $$;
create trigger user_tokens_note_changed_rights after update on auth.user_tokens
  for each row when (
    new.token_type = 'api_key' and not new.is_revoked
    and (new.scopes <> old.scopes or new.may_approve <> old.may_approve or new.family_id <> old.family_id)
  )
  execute function auth.note_changed_key_rights();

-- All descendants in one statement, so that the depth of a lineage costs no depth of triggers. What the service itself revokes it revokes with
-- its descendants: then there is nobody left, which the first look shows.
create function auth.end_descendants() returns trigger language plpgsql as $$
begin
  if not exists (select from auth.user_tokens where parent_id = old.id and token_type = 'api_key' and not is_revoked) then
    return null;
  end if;
  with recursive lineage as (
    select id from auth.user_tokens where parent_id = old.id and token_type = 'api_key'
    union
    select child.id from auth.user_tokens child join lineage on child.parent_id = lineage.id where child.token_type = 'api_key'
  )
  update auth.user_tokens set is_revoked = true, revoked_at = now(), updated_at = now()
  where id in (select id from lineage) and not is_revoked;
  return null;
end $$;
create trigger user_tokens_end_descendants after update on auth.user_tokens
  for each row when (new.token_type = 'api_key' and new.is_revoked and not old.is_revoked)
  execute function auth.end_descendants();
-- Triggers fire by name, and capitals come first: before the one of the foreign key, which takes the children their parent_id.
create trigger "END_descendants" after delete on auth.user_tokens
  for each row when (old.token_type = 'api_key')
  execute function auth.end_descendants();

create function auth.shorten_descendants() returns trigger language plpgsql as $$
begin
  if not exists (
    select from auth.user_tokens
    where parent_id = new.id and token_type = 'api_key' and (expires_at is null or expires_at > new.expires_at)
  ) then
    return null;
  end if;
  with recursive lineage as (
    select id from auth.user_tokens where parent_id = new.id and token_type = 'api_key'
    union
    select child.id from auth.user_tokens child join lineage on child.parent_id = lineage.id where child.token_type = 'api_key'
  )
  update auth.user_tokens set expires_at = new.expires_at, updated_at = now()
  where id in (select id from lineage) and (expires_at is null or expires_at > new.expires_at);
  return null;
end $$;
create trigger user_tokens_shorten_descendants after update on auth.user_tokens
  for each row when (new.token_type = 'api_key' and new.expires_at is not null and new.expires_at is distinct from old.expires_at)
  execute function auth.shorten_descendants();
