alter table conversation.approvals drop column decided_token_id, drop column decided_token_type;
