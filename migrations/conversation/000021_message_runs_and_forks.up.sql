-- Messages name their run and may have images; users copy their own conversations. No row is rewritten.

alter table conversation.messages add column run_id uuid, add column parts json;
alter table conversation.runs add column input_parts json;

comment on column conversation.messages.run_id is
  'The run that the message began or that made it. Null on messages of earlier releases and on copied ones.';

comment on column conversation.messages.parts is
  'Texts and images behind the text, as a list of {type, text, image_url}; images are data URLs.';
comment on column conversation.runs.input_parts is 'The parts of input, until the run begins.';

-- A copy is made on behalf of one user: the policies for users hold for the rows that it inserts, too.
grant insert on conversation.conversations, conversation.user_totals, conversation.messages to turnwright_conversation_user;
