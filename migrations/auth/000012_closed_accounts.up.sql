-- Closing an account is announced by the account's own id too: it may have no credential left, and resources such as webhooks
-- depend on the account itself.
create or replace function auth.note_changed_user() returns trigger language plpgsql as $$
begin
  if new.is_active <> old.is_active or new.role <> old.role then
    insert into auth.revocations (token_id)
    select distinct case when token_type = 'refresh' then family_id else id end
    from auth.user_tokens where user_id = new.id and not is_revoked;
  end if;
  if old.is_active and not new.is_active then
    insert into auth.revocations (token_id) values (new.id);
  end if;
  return null;
end $$;

create function auth.note_deleted_user() returns trigger language plpgsql as $$
begin
  insert into auth.revocations (token_id) values (old.id);
  return null;
end $$;
create trigger users_note_deleted after delete on auth.users
  for each row execute function auth.note_deleted_user();
