drop table auth.audit_log, auth.audit_head, auth.usage, auth.spend_reservations, auth.login_attempts;
drop function auth.chain_audit_event(), auth.refuse_audit_change();
drop trigger users_note_changed on auth.users;
drop trigger user_tokens_note_revoked on auth.user_tokens;
drop trigger user_tokens_note_deleted on auth.user_tokens;
drop function auth.note_revoked_token(), auth.note_deleted_token(), auth.note_changed_user();
drop table auth.revocations;
drop index auth.user_tokens_by_parent;
alter table auth.user_tokens
  drop column rotated_at,
  drop column max_concurrent,
  drop column spend_limit_micros,
  drop column spent_micros;
