drop index auth.user_tokens_of_session;
alter table auth.user_tokens drop column user_agent, drop column address;
