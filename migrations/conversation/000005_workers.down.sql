drop table conversation.workers;
drop index conversation.runs_by_owner;
