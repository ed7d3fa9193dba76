drop table conversation.idempotency_keys;
