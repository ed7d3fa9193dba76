drop table tool.tool_executions;
