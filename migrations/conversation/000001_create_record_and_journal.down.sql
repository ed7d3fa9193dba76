drop table conversation.approvals;
drop table conversation.run_events;
drop table conversation.runs;
drop table conversation.messages;
drop table conversation.user_totals;
drop table conversation.conversations;
