drop trigger user_tokens_shorten_descendants on auth.user_tokens;
drop trigger "END_descendants" on auth.user_tokens;
drop trigger user_tokens_end_descendants on auth.user_tokens;
drop trigger user_tokens_note_changed_rights on auth.user_tokens;
drop trigger user_tokens_inherit_family on auth.user_tokens;
drop function auth.shorten_descendants();
drop function auth.end_descendants();
drop function auth.note_changed_key_rights();
drop function auth.inherit_family();

-- Older releases know no scopes: a key that has some would be without bounds.
update auth.user_tokens set is_revoked = true, revoked_at = now(), updated_at = now() where scopes <> '{}' and not is_revoked;

comment on column auth.user_tokens.family_id is null;
alter table auth.user_tokens drop column may_approve, drop column scopes;
