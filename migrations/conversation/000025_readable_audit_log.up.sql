-- Admins read and verify the log through the service. Requests of single users still cannot read it.
grant select on conversation.audit_log, conversation.audit_head to turnwright_conversation;
create policy for_service on conversation.audit_head for select to turnwright_conversation using (true);

-- Finds the entries of a period.
create index audit_log_by_time on conversation.audit_log (at);
