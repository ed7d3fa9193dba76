drop table auth.invites;
drop policy for_user on auth.users;
revoke select (id, is_active, role), update (id) on auth.users from turnwright_auth_user;
drop trigger user_tokens_count_secret on auth.user_tokens;
drop function auth.count_secret();
alter table auth.user_tokens drop column secret_version;
