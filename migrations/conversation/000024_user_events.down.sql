drop trigger approvals_events_update on conversation.approvals;
drop trigger approvals_events_insert on conversation.approvals;
drop trigger runs_events_update on conversation.runs;
drop trigger runs_events_insert on conversation.runs;
drop function conversation.note_approval_event();
drop function conversation.note_run_event();
drop index conversation.runs_open;
drop table conversation.user_events;
drop table conversation.event_listeners;
