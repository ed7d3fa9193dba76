-- A call waits for a person for so long and no longer.

alter table conversation.approvals add column expires_at timestamptz;
-- The service says on each connection how long that is; what waits already waits on.
alter table conversation.approvals alter column expires_at
  set default now() + nullif(current_setting('turnwright.approval_expiry', true), '')::interval;

comment on column conversation.approvals.expires_at is 'From then on it cannot be decided and counts as rejected; null: never.';

create index approvals_expiring on conversation.approvals (expires_at) where status = 'pending';
