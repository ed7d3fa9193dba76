alter table conversation.approvals
  drop column decided_by_name,
  drop column decided_via;
