drop trigger users_note_deleted on auth.users;
drop function auth.note_deleted_user();

create or replace function auth.note_changed_user() returns trigger language plpgsql as $$
begin
  if new.is_active <> old.is_active or new.role <> old.role then
    insert into auth.revocations (token_id)
    select distinct case when token_type = 'refresh' then family_id else id end
    from auth.user_tokens where user_id = new.id and not is_revoked;
  end if;
  return null;
end $$;
