alter table conversation.workers drop column back_at, drop column has_left;
drop table conversation.journal_pulse;
