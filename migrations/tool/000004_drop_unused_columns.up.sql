-- No statement of any release has read or written these columns: they are null in every row. conversation.approvals records
-- who approved a call.

alter table tool.tool_executions
  drop column approved_by,
  drop column approved_at;
