-- An approval whose tool has changed makes room for a fresh one of the same call.

alter table conversation.approvals add column superseded_by uuid;
alter table conversation.approvals drop constraint approvals_status_check;
alter table conversation.approvals
  add constraint approvals_status_check check (status in ('pending', 'approved', 'rejected', 'superseded')) not valid;
alter table conversation.approvals validate constraint approvals_status_check;

comment on column conversation.approvals.superseded_by is 'The fresh approval; null for a tool that no longer exists, and for all that stand.';

drop index conversation.approvals_by_run;
create unique index approvals_by_run on conversation.approvals (run_id, epoch, call_id) where status <> 'superseded';
