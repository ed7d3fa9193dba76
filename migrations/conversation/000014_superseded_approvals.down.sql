delete from conversation.approvals where status = 'superseded';

drop index conversation.approvals_by_run;
create unique index approvals_by_run on conversation.approvals (run_id, epoch, call_id);

alter table conversation.approvals drop constraint approvals_status_check;
alter table conversation.approvals
  add constraint approvals_status_check check (status in ('pending', 'approved', 'rejected'));
alter table conversation.approvals drop column superseded_by;
