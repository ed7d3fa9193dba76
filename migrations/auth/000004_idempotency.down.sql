drop table auth.idempotency_keys;
