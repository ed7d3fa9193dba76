-- No statement of any release has read or written these columns: they hold their default in every row.

alter table auth.users drop column metadata;
alter table auth.user_tokens drop column metadata;
