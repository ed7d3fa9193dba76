drop trigger user_tokens_note_limits on auth.user_tokens;
drop function auth.note_changed_key_limits();

-- Sessions could reserve nothing before: what is set aside under no key is forgotten.
delete from auth.spend_reservations r where not exists (select from auth.user_tokens t where t.id = r.token_id);
alter table auth.spend_reservations
  drop column charged_user,
  drop column charged_keys,
  add constraint spend_reservations_token_id_fkey foreign key (token_id) references auth.user_tokens (id) on delete cascade;

alter table auth.users
  drop column spent_micros,
  drop column spend_limit_micros,
  drop column max_concurrent,
  drop column rate_limit_per_day,
  drop column rate_limit_per_minute;
