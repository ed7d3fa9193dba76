drop trigger runs_webhooks_insert on conversation.runs;
drop trigger runs_webhooks_update on conversation.runs;
drop function conversation.queue_webhook_deliveries();
drop table conversation.webhook_deliveries, conversation.webhooks;
