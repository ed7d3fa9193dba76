alter table conversation.conversations drop column finish_reason;
alter table conversation.runs drop column finish_reason;
alter table conversation.messages drop column finish_reason, drop column reasoning, drop column provider_fields;
