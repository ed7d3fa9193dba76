create index approvals_pending on conversation.approvals (user_id, conversation_id) where status = 'pending';
drop index conversation.approvals_by_user;
alter table conversation.approvals drop column edited_arguments;
