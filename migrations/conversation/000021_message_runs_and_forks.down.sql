revoke insert on conversation.conversations, conversation.user_totals, conversation.messages
  from turnwright_conversation_user;
alter table conversation.messages drop column run_id;
