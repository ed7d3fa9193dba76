-- Who started a run, for who may decide on its calls; on which key a webhook depends.

alter table conversation.runs add column family_id uuid;

comment on column conversation.runs.family_id is
  'Of the credential that started it: the login session, or the first key of the key''s lineage. Null: unknown, it is of an older release.';

alter table conversation.webhooks
  add column api_key_id uuid,
  add column api_key_expires_at timestamptz;

comment on column conversation.webhooks.api_key_id is 'The key that made it what it is, with which it ends; null: a login did.';
comment on column conversation.webhooks.api_key_expires_at is 'When that key ends by itself: nothing is sent from then on.';

create index webhooks_by_api_key on conversation.webhooks (api_key_id) where api_key_id is not null and enabled;
create index webhooks_by_key_expiry on conversation.webhooks (api_key_expires_at) where api_key_expires_at is not null and enabled;
