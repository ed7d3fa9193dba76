-- Who decided on a call, in words, as they were called then.

alter table conversation.approvals
  add column decided_by_name text not null default '',
  add column decided_via text not null default '';

comment on column conversation.approvals.decided_by_name is 'Name of the account; empty: nobody decided, or the name is unknown.';
comment on column conversation.approvals.decided_via is 'Of an API key its name; of a login console or login.';
