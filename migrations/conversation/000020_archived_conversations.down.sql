drop index conversation.conversations_archived;
alter table conversation.conversations drop column archived;
