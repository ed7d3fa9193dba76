revoke insert on conversation.conversations, conversation.user_totals, conversation.messages
  from turnwright_conversation_user;
alter table conversation.runs drop column input_parts;
alter table conversation.messages drop column run_id, drop column parts;
