-- An approver may put other arguments in the place of the model's.

alter table conversation.approvals add column edited_arguments text;

comment on column conversation.approvals.edited_arguments is 'text, not json: grants carry the hash of exactly these bytes.';

create index approvals_by_user on conversation.approvals (user_id, status, created_at desc, id desc);
drop index conversation.approvals_pending;
