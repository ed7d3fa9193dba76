alter table tool.tool_executions
  add column approved_by uuid,
  add column approved_at timestamptz;

comment on column tool.tool_executions.approved_by is
  'Left to audits; who approved a call stands in conversation.approvals, and the grant proves that somebody did.';
