drop index conversation.audit_log_by_time;
drop policy for_service on conversation.audit_head;
revoke select on conversation.audit_log, conversation.audit_head from turnwright_conversation;
