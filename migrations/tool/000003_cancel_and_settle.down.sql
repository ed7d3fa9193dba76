comment on column tool.tool_executions.started_at is null;
alter table tool.tool_executions
  drop constraint tool_executions_settled,
  drop column settled_by,
  drop column settled_at,
  drop column cancel_requested;
