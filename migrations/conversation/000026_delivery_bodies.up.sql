-- The answers of receivers, cut, for the owner of the webhook who looks for a fault.
alter table conversation.webhook_deliveries add column response_body text not null default '';
comment on column conversation.webhook_deliveries.response_body is 'The first 4,096 bytes of the last answer, as text.';

alter table conversation.webhooks add column last_failure_at timestamptz;
comment on column conversation.webhooks.last_failure_at is 'End of the last attempt that failed.';
