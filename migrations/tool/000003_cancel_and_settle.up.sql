-- A call can be stopped for good, before it begins or while it runs. A person can settle a call with an unknown
-- outcome.

alter table tool.tool_executions
  add column settled_by uuid,
  add column settled_at timestamptz,
  add column cancel_requested boolean not null default false,
  add constraint tool_executions_settled check ((settled_by is null) = (settled_at is null));

comment on column tool.tool_executions.cancel_requested is
  'Whoever runs the call reads this when it renews its lease, and stops. The call is never claimed again. A row without a tool''s name was '
  'made before the call was asked for, so that it never begins.';
comment on column tool.tool_executions.settled_by is
  'The person who found out how a call ended that was unknown; the status and output are then what that person said.';
comment on column tool.tool_executions.started_at is 'Null on a call that ended and never began.';
