-- Conversations that their users put aside. A constant default: no row is rewritten.

alter table conversation.conversations add column archived boolean not null default false;

comment on column conversation.conversations.archived is
  'Put aside by its user: left out of lists that do not ask for it. The value of status says nothing about it.';

-- A page of a user's archived conversations, which are few among many.
create index conversations_archived on conversation.conversations (user_id, created_at desc, id desc)
  where deleted_at is null and archived;
