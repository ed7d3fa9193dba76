-- Older releases do not end a webhook with its key.
update conversation.webhooks
set enabled = false, disabled_reason = 'An API key made it; it was disabled when the system went back to an older release.', updated_at = now()
where api_key_id is not null and enabled;

drop index conversation.webhooks_by_api_key, conversation.webhooks_by_key_expiry;
alter table conversation.webhooks drop column api_key_expires_at, drop column api_key_id;
alter table conversation.runs drop column family_id;
