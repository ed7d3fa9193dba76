drop index conversation.approvals_expiring;
alter table conversation.approvals drop column expires_at;
