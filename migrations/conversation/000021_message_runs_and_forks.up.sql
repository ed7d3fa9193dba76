-- Messages name their run; users copy their own conversations. No row is rewritten.

alter table conversation.messages add column run_id uuid;

comment on column conversation.messages.run_id is
  'The run that the message began or that made it. Null on messages of earlier releases and on copied ones.';

-- A copy is made on behalf of one user: the policies for users hold for the rows that it inserts, too.
grant insert on conversation.conversations, conversation.user_totals, conversation.messages to turnwright_conversation_user;
