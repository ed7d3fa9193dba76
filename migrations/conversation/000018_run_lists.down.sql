drop index conversation.runs_by_time;
drop index conversation.runs_by_user;
create index runs_by_user on conversation.runs (user_id, created_at desc, run_id desc);
drop trigger run_events_error_reason on conversation.run_events;
drop function conversation.note_error_reason();
alter table conversation.runs drop column error_reason;
