-- No statement of any release has read or written these columns: they hold their default in every row.

alter table conversation.conversations
  drop column completed_at,
  drop column temperature,
  drop column system_prompt,
  drop column workflow_state,
  drop column metadata;

alter table conversation.messages
  drop column is_streaming,
  drop column stream_complete;
