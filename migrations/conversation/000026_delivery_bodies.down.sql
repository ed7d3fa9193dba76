alter table conversation.webhooks drop column last_failure_at;
alter table conversation.webhook_deliveries drop column response_body;
