drop policy for_user on tool.tool_executions;
drop policy for_service on tool.tool_executions;
alter table tool.tool_executions no force row level security, disable row level security;
-- The roles stay: other databases of the cluster may use them.
revoke all on all tables in schema tool from turnwright_tool, turnwright_tool_user;
revoke usage on schema tool from turnwright_tool, turnwright_tool_user;
