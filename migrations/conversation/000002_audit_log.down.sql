drop table conversation.audit_log, conversation.audit_head;
drop function conversation.chain_audit_event(), conversation.refuse_audit_change();
