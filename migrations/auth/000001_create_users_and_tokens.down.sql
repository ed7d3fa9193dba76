drop table auth.signing_keys;
drop table auth.user_tokens;
drop table auth.users;
