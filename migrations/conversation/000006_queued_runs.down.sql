drop index conversation.runs_by_conversation;
drop index conversation.runs_by_user;
drop index conversation.runs_idempotency;
drop index conversation.runs_queued;
drop index conversation.runs_live;
create unique index runs_live on conversation.runs (conversation_id) where status in ('queued', 'running', 'waiting');
alter table conversation.run_events drop column first_message, drop column messages;
alter table conversation.runs drop column input, drop column priority, drop column request_hash, drop column receipts;
