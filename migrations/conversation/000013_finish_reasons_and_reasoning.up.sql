-- Why a model stopped, its reasoning, and the fields that its endpoint wants back. Constant defaults: no row is rewritten.

alter table conversation.messages
  add column finish_reason text not null default '',
  add column reasoning text not null default '',
  add column provider_fields text not null default '';

comment on column conversation.messages.provider_fields is
  'JSON as text: it is sent back to the provider as it came, and never shown to the user.';

alter table conversation.runs add column finish_reason text not null default '';
alter table conversation.conversations add column finish_reason text not null default '';

comment on column conversation.conversations.finish_reason is 'That of the last completed run.';
