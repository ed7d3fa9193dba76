-- The database of the first release after a day of use: schemas as its migrations made them, then the rows.

create schema auth;
create table auth.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);

create table auth.users (
  id uuid primary key,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  is_active boolean not null default true,
  email text not null,
  password_hash text not null,
  name text not null default '',
  role text not null default 'user' check (role in ('admin', 'user', 'agent')),
  metadata jsonb not null default '{}',
  constraint users_email_key unique (email),
  constraint users_email_is_lower check (email = lower(email))
);

create table auth.user_tokens (
  id uuid primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  family_id uuid not null,
  parent_id uuid references auth.user_tokens (id) on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  rate_limit_per_minute integer not null,
  rate_limit_per_day integer not null,
  is_revoked boolean not null default false,
  token_hash bytea not null,
  token_type text not null check (token_type in ('refresh', 'api_key')),
  name text not null default '',
  prefix text not null default '',
  allowed_tools text[] not null default '{}',
  allowed_models text[] not null default '{}',
  metadata jsonb not null default '{}',
  constraint user_tokens_token_hash_key unique (token_hash)
);

comment on column auth.user_tokens.token_hash is 'SHA-256 of the whole token; the token itself is stored nowhere.';

create unique index user_tokens_live_session on auth.user_tokens (family_id) where token_type = 'refresh' and not is_revoked;
create index user_tokens_by_user on auth.user_tokens (user_id, token_type, created_at desc);

create table auth.signing_keys (
  kid text primary key,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  private_jwk jsonb not null,
  public_jwk jsonb not null
);

create schema conversation;
create table conversation.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);

create table conversation.conversations (
  id uuid primary key,
  user_id uuid not null,
  active_run_id uuid,
  total_tokens bigint not null default 0,
  total_cost double precision not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_message_at timestamptz not null default now(),
  completed_at timestamptz,
  deleted_at timestamptz,
  message_count integer not null default 0,
  tool_call_count integer not null default 0,
  temperature real,
  title text not null default '',
  status text not null default 'active'
    check (status in ('active', 'pending_approval', 'completed', 'failed', 'archived')),
  agent_type text not null default '',
  model text not null default '',
  current_node text not null default '',
  system_prompt text,
  tags text[] not null default '{}',
  workflow_state jsonb,
  metadata jsonb
) with (fillfactor = 80);

comment on column conversation.conversations.message_count is
  'Also the sequence number of the newest message: the row''s lock is what keeps the numbers without gaps.';

comment on column conversation.conversations.active_run_id is
  'The live run. A begin that waited for this row reads it here as it is now, where its older view of runs would mislead it.';

create index conversations_by_user on conversation.conversations (user_id, created_at desc, id desc) where deleted_at is null;

create table conversation.user_totals (
  user_id uuid primary key,
  conversations integer not null default 0
) with (fillfactor = 50);

create table conversation.messages (
  conversation_id uuid not null,
  id uuid not null,
  created_at timestamptz not null default now(),
  sequence_number integer not null,
  prompt_tokens integer not null default 0,
  completion_tokens integer not null default 0,
  latency_ms integer not null default 0,
  is_streaming boolean not null default false,
  stream_complete boolean not null default true,
  role text not null check (role in ('system', 'user', 'assistant', 'tool')),
  content text not null default '',
  name text not null default '',
  tool_calls json,
  tool_call_id text not null default '',
  model text not null default '',
  primary key (conversation_id, sequence_number)
);

create table conversation.runs (
  run_id uuid primary key,
  conversation_id uuid not null references conversation.conversations (id) on delete cascade,
  user_id uuid not null,
  token_id uuid,
  cost double precision not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deadline_at timestamptz,
  wake_at timestamptz,
  epoch integer not null default 0,
  seq integer not null default 0,
  attempt integer not null default 0,
  graph_version integer not null default 0,
  deadline_seconds integer not null default 600,
  prompt_tokens integer not null default 0,
  completion_tokens integer not null default 0,
  total_tokens integer not null default 0,
  tool_call_count integer not null default 0,
  cancel_requested boolean not null default false,
  status text not null
    check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'needs_review')),
  node text not null default '',
  owner text not null default '',
  agent text not null default '',
  model text not null default '',
  error text not null default '',
  idempotency_key text,
  state json
) with (fillfactor = 80);

comment on column conversation.runs.epoch is 'Raised by every claim; a commit that carries another one is refused.';
comment on column conversation.runs.seq is 'Number of the newest row in run_events.';
comment on column conversation.runs.state is 'json, not jsonb: the driver''s text comes back as it was written.';

create unique index runs_live on conversation.runs (conversation_id) where status in ('queued', 'running', 'waiting');

create table conversation.run_events (
  run_id uuid not null,
  created_at timestamptz not null default now(),
  seq integer not null,
  type text not null,
  payload json,
  primary key (run_id, seq)
);

create table conversation.approvals (
  id uuid primary key,
  conversation_id uuid not null,
  run_id uuid not null references conversation.runs (run_id) on delete cascade,
  user_id uuid not null,
  decided_by uuid,
  created_at timestamptz not null default now(),
  decided_at timestamptz,
  epoch integer not null,
  position integer not null,
  status text not null default 'pending' check (status in ('pending', 'approved', 'rejected')),
  call_id text not null,
  tool_name text not null,
  tool_version text not null default '',
  arguments text not null,
  reason text not null default ''
);

comment on column conversation.approvals.epoch is 'The run''s epoch when it parked: what tells this round from those before.';
comment on column conversation.approvals.arguments is 'text, not json: grants carry the hash of exactly these bytes.';

create unique index approvals_by_run on conversation.approvals (run_id, epoch, call_id);
create index approvals_pending on conversation.approvals (user_id, conversation_id) where status = 'pending';

create schema tool;
create table tool.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);

create table tool.tool_executions (
  id uuid primary key,
  run_id uuid,
  conversation_id uuid,
  message_id uuid,
  user_id uuid not null,
  token_id uuid,
  approved_by uuid,
  created_at timestamptz not null default now(),
  queued_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  approved_at timestamptz,
  lease_until timestamptz,
  duration_ms integer,
  epoch integer not null default 0,
  claim integer not null default 1,
  requires_approval boolean not null default false,
  tool_call_id text not null,
  tool_name text not null,
  tool_version text not null,
  effect text not null check (effect in ('read', 'idempotent', 'once')),
  status text not null
    check (status in ('pending', 'running', 'success', 'failed', 'cancelled', 'requires_approval', 'unknown')),
  arguments_hash text not null,
  input json not null,
  output json,
  error_message text,
  constraint tool_executions_call unique (run_id, tool_call_id),
  constraint tool_executions_lease check (run_id is null or status <> 'running' or lease_until is not null)
) with (fillfactor = 80);

comment on column tool.tool_executions.claim is
  'How often the call was taken up. A result is stored only under the claim that it was made by.';
comment on column tool.tool_executions.lease_until is
  'The process that runs the call moves this forward. Once it has passed, the process is taken for dead.';
comment on column tool.tool_executions.status is
  'unknown: a call with effect once that had begun, and nobody knows how it ended. It never runs again.';
comment on column tool.tool_executions.approved_by is
  'Left to audits; who approved a call stands in conversation.approvals, and the grant proves that somebody did.';

create index tool_executions_by_user on tool.tool_executions (user_id, created_at desc);

insert into auth.users select * from json_populate_record(null::auth.users, '{"id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","created_at":"2026-11-30T21:04:39.083271+00:00","updated_at":"2026-11-30T21:04:39.083271+00:00","is_active":true,"email":"ada@example.com","password_hash":"$argon2id$v=19$m=19456,t=2,p=1$u7XOeqeLoX97qvIm78lPcA$+JMPcRMyAutsRUe43jU3fCK+MiJNKra8MBJJoBeUT1s","name":"Ada","role":"user","metadata":{}}');
insert into auth.users select * from json_populate_record(null::auth.users, '{"id":"01a22e46-27a1-7129-9986-45bc449c9f6f","created_at":"2026-11-30T21:04:39.333124+00:00","updated_at":"2026-11-30T21:04:39.333124+00:00","is_active":true,"email":"bob@example.com","password_hash":"$argon2id$v=19$m=19456,t=2,p=1$Vt0dskfKa6pC/ASMgPWNaQ$RngZEFv0rBGvPlyrITjMB2IOoOICRg7e6vnSe5NVkFw","name":"Bob","role":"user","metadata":{}}');
insert into auth.user_tokens select * from json_populate_record(null::auth.user_tokens,  E'{"id":"01a22e46-294f-7d2e-8f49-30ab2373b52c","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","family_id":"01a22e46-294e-7919-9007-1446f15aa33f","parent_id":null,"created_at":"2026-11-30T21:04:39.763054+00:00","updated_at":"2026-11-30T21:04:39.763054+00:00","expires_at":"2026-12-07T21:04:39.76+00:00","last_used_at":"2026-11-30T21:04:39.811415+00:00","revoked_at":null,"rate_limit_per_minute":60,"rate_limit_per_day":10000,"is_revoked":false,"token_hash":"\\\\x9ae55f10cb9776bc3104677ce34bd8dc518ae520c31aaff5f8b3b820429dd50f","token_type":"refresh","name":"","prefix":"","allowed_tools":[],"allowed_models":[],"metadata":{}}');
insert into auth.user_tokens select * from json_populate_record(null::auth.user_tokens,  E'{"id":"01a22e46-29c7-714f-96c8-79430b9dc602","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","family_id":"01a22e46-29c7-714f-96c8-79430b9dc602","parent_id":null,"created_at":"2026-11-30T21:04:39.879798+00:00","updated_at":"2026-11-30T21:04:39.879798+00:00","expires_at":null,"last_used_at":null,"revoked_at":null,"rate_limit_per_minute":60,"rate_limit_per_day":10000,"is_revoked":false,"token_hash":"\\\\x3e099c03d82547538f556e051f7ba4b6e2dfaefd3db19bcb6f554cfd07f03c2a","token_type":"api_key","name":"ci","prefix":"sk-lzx9m8m","allowed_tools":["calculator"],"allowed_models":["gpt-4o-mini"],"metadata":{}}');
insert into conversation.conversations select * from json_populate_record(null::conversation.conversations, '{"id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","active_run_id":null,"total_tokens":130,"total_cost":0,"created_at":"2026-11-30T21:04:39.917655+00:00","updated_at":"2026-11-30T21:04:39.979951+00:00","last_message_at":"2026-11-30T21:04:39.979951+00:00","completed_at":null,"deleted_at":null,"message_count":4,"tool_call_count":1,"temperature":null,"title":"What is 1337 * 42?","status":"active","agent_type":"","model":"gpt-4o-mini","current_node":"respond","system_prompt":null,"tags":[],"workflow_state":null,"metadata":null}');
insert into conversation.conversations select * from json_populate_record(null::conversation.conversations, '{"id":"01a22e46-2a3d-7af2-887a-9ba7c38d291f","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","active_run_id":"01a22e46-2a3d-748b-bade-d06ae9ef825a","total_tokens":85,"total_cost":0,"created_at":"2026-11-30T21:04:39.997588+00:00","updated_at":"2026-11-30T21:04:40.009288+00:00","last_message_at":"2026-11-30T21:04:40.004869+00:00","completed_at":null,"deleted_at":null,"message_count":2,"tool_call_count":0,"temperature":null,"title":"Send an HTTP request to http://127.0.0.1:18199/order saying hello","status":"pending_approval","agent_type":"","model":"gpt-4o-mini","current_node":"act","system_prompt":null,"tags":[],"workflow_state":null,"metadata":null}');
insert into conversation.runs select * from json_populate_record(null::conversation.runs, '{"run_id":"01a22e46-29e6-7be0-af61-e206fd9bf8fb","conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","token_id":"01a22e46-294e-7919-9007-1446f15aa33f","cost":0,"created_at":"2026-11-30T21:04:39.917655+00:00","updated_at":"2026-11-30T21:04:39.979951+00:00","deadline_at":"2026-11-30T21:14:39.917655+00:00","wake_at":null,"epoch":1,"seq":2,"attempt":0,"graph_version":1,"deadline_seconds":600,"prompt_tokens":98,"completion_tokens":32,"total_tokens":130,"tool_call_count":1,"cancel_requested":false,"status":"completed","node":"respond","owner":"agent-orchestrator","agent":"researcher","model":"gpt-4o-mini","error":"","idempotency_key":null,"state":{"agent":"researcher","model":"gpt-4o-mini","iteration":1,"messageId":"","waiting":[]}}');
insert into conversation.runs select * from json_populate_record(null::conversation.runs, '{"run_id":"01a22e46-2a3d-748b-bade-d06ae9ef825a","conversation_id":"01a22e46-2a3d-7af2-887a-9ba7c38d291f","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","token_id":"01a22e46-294e-7919-9007-1446f15aa33f","cost":0,"created_at":"2026-11-30T21:04:39.997588+00:00","updated_at":"2026-11-30T21:04:40.009288+00:00","deadline_at":null,"wake_at":null,"epoch":1,"seq":2,"attempt":0,"graph_version":1,"deadline_seconds":600,"prompt_tokens":59,"completion_tokens":26,"total_tokens":85,"tool_call_count":0,"cancel_requested":false,"status":"waiting","node":"act","owner":"agent-orchestrator","agent":"general","model":"gpt-4o-mini","error":"","idempotency_key":null,"state":{"agent":"general","model":"gpt-4o-mini","iteration":1,"messageId":"01a22e46-2a44-7451-b314-c705dd21037d","waiting":["call_37adee5fb09a_0"]}}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages, '{"conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","id":"01a22e46-29ed-784b-b9c1-4459ef91d5d2","created_at":"2026-11-30T21:04:39.917655+00:00","sequence_number":1,"prompt_tokens":0,"completion_tokens":0,"latency_ms":0,"is_streaming":false,"stream_complete":true,"role":"user","content":"What is 1337 * 42?","name":"","tool_calls":null,"tool_call_id":"","model":""}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages,  E'{"conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","id":"01a22e46-29f9-715c-bdff-f3fdfe7a50e7","created_at":"2026-11-30T21:04:39.938969+00:00","sequence_number":2,"prompt_tokens":42,"completion_tokens":15,"latency_ms":2,"is_streaming":false,"stream_complete":true,"role":"assistant","content":"","name":"","tool_calls":[{"id":"call_fa81dc5cfb8c_0","type":"function","function":{"name":"calculator","arguments":"{\\"expression\\":\\"1337 * 42\\"}"}}],"tool_call_id":"","model":"gpt-4o-mini"}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages,  E'{"conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","id":"01a22e46-2a26-7ad3-9f2e-62fd32a555c1","created_at":"2026-11-30T21:04:39.979951+00:00","sequence_number":3,"prompt_tokens":0,"completion_tokens":0,"latency_ms":0,"is_streaming":false,"stream_complete":true,"role":"tool","content":"{\\"expression\\":\\"1337 * 42\\",\\"result\\":56154}","name":"calculator","tool_calls":null,"tool_call_id":"call_fa81dc5cfb8c_0","model":""}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages,  E'{"conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","id":"01a22e46-2a28-7057-8516-9bbe9e6318f6","created_at":"2026-11-30T21:04:39.979951+00:00","sequence_number":4,"prompt_tokens":56,"completion_tokens":17,"latency_ms":2,"is_streaming":false,"stream_complete":true,"role":"assistant","content":"Here is what I found for \\"What is 1337 * 42?\\": 1337 * 42 = 56154.","name":"","tool_calls":null,"tool_call_id":"","model":"gpt-4o-mini"}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages, '{"conversation_id":"01a22e46-2a3d-7af2-887a-9ba7c38d291f","id":"01a22e46-2a3d-7ed4-898e-c98647487c35","created_at":"2026-11-30T21:04:39.997588+00:00","sequence_number":1,"prompt_tokens":0,"completion_tokens":0,"latency_ms":0,"is_streaming":false,"stream_complete":true,"role":"user","content":"Send an HTTP request to http://127.0.0.1:18199/order saying hello","name":"","tool_calls":null,"tool_call_id":"","model":""}');
insert into conversation.messages select * from json_populate_record(null::conversation.messages,  E'{"conversation_id":"01a22e46-2a3d-7af2-887a-9ba7c38d291f","id":"01a22e46-2a44-7451-b314-c705dd21037d","created_at":"2026-11-30T21:04:40.004869+00:00","sequence_number":2,"prompt_tokens":59,"completion_tokens":26,"latency_ms":1,"is_streaming":false,"stream_complete":true,"role":"assistant","content":"","name":"","tool_calls":[{"id":"call_37adee5fb09a_0","type":"function","function":{"name":"http_request","arguments":"{\\"method\\":\\"POST\\",\\"url\\":\\"http://127.0.0.1:18199/order\\",\\"body\\":\\"hello\\"}"}}],"tool_call_id":"","model":"gpt-4o-mini"}');
insert into conversation.run_events select * from json_populate_record(null::conversation.run_events, '{"run_id":"01a22e46-29e6-7be0-af61-e206fd9bf8fb","created_at":"2026-11-30T21:04:39.938969+00:00","seq":1,"type":"tool_intent","payload":{"message_id":"01a22e46-29f9-715c-bdff-f3fdfe7a50e7"}}');
insert into conversation.run_events select * from json_populate_record(null::conversation.run_events, '{"run_id":"01a22e46-29e6-7be0-af61-e206fd9bf8fb","created_at":"2026-11-30T21:04:39.979951+00:00","seq":2,"type":"completed","payload":{"finish_reason":"stop"}}');
insert into conversation.run_events select * from json_populate_record(null::conversation.run_events, '{"run_id":"01a22e46-2a3d-748b-bade-d06ae9ef825a","created_at":"2026-11-30T21:04:40.004869+00:00","seq":1,"type":"tool_intent","payload":{"message_id":"01a22e46-2a44-7451-b314-c705dd21037d"}}');
insert into conversation.run_events select * from json_populate_record(null::conversation.run_events, '{"run_id":"01a22e46-2a3d-748b-bade-d06ae9ef825a","created_at":"2026-11-30T21:04:40.009288+00:00","seq":2,"type":"parked","payload":{"calls":["call_37adee5fb09a_0"]}}');
insert into conversation.approvals select * from json_populate_record(null::conversation.approvals,  E'{"id":"01a22e46-2a46-79bc-818d-e2bd437115cd","conversation_id":"01a22e46-2a3d-7af2-887a-9ba7c38d291f","run_id":"01a22e46-2a3d-748b-bade-d06ae9ef825a","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","decided_by":null,"created_at":"2026-11-30T21:04:40.009288+00:00","decided_at":null,"epoch":1,"position":1,"status":"pending","call_id":"call_37adee5fb09a_0","tool_name":"http_request","tool_version":"1","arguments":"{\\"method\\":\\"POST\\",\\"url\\":\\"http://127.0.0.1:18199/order\\",\\"body\\":\\"hello\\"}","reason":""}');
insert into auth.migrations select * from json_populate_record(null::auth.migrations, '{"id":1,"name":"000001_create_users_and_tokens","run_on":"2026-11-30T21:04:23.46178"}');
insert into auth.signing_keys select * from json_populate_record(null::auth.signing_keys, '{"kid":"0f5f52dc-38d9-4fc6-837d-c626b97ab8b4","created_at":"2026-11-30T21:04:23.615829+00:00","retired_at":null,"private_jwk":{"d": "1X3F2lSjTMZ5bkfZPVU-S9e8z5juCrtTa64IzS8XXY4", "x": "yEtpIL9QNUrhCIhSC2_wWq95q9wOT1YvAwZQtBq1aYs", "alg": "EdDSA", "crv": "Ed25519", "kid": "0f5f52dc-38d9-4fc6-837d-c626b97ab8b4", "kty": "OKP"},"public_jwk":{"x": "yEtpIL9QNUrhCIhSC2_wWq95q9wOT1YvAwZQtBq1aYs", "alg": "EdDSA", "crv": "Ed25519", "kid": "0f5f52dc-38d9-4fc6-837d-c626b97ab8b4", "kty": "OKP", "use": "sig"}}');
insert into conversation.migrations select * from json_populate_record(null::conversation.migrations, '{"id":1,"name":"000001_create_record_and_journal","run_on":"2026-11-30T21:04:23.515268"}');
insert into conversation.user_totals select * from json_populate_record(null::conversation.user_totals, '{"user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","conversations":2}');
insert into tool.migrations select * from json_populate_record(null::tool.migrations, '{"id":1,"name":"000001_create_tool_executions","run_on":"2026-11-30T21:04:23.597289"}');
insert into tool.tool_executions select * from json_populate_record(null::tool.tool_executions, '{"id":"01a22e46-2a18-79d3-8731-0c4615f70518","run_id":"01a22e46-29e6-7be0-af61-e206fd9bf8fb","conversation_id":"01a22e46-29ed-7775-9d3c-e5d2bef3b44e","message_id":"01a22e46-29f9-715c-bdff-f3fdfe7a50e7","user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","token_id":"01a22e46-294e-7919-9007-1446f15aa33f","approved_by":null,"created_at":"2026-11-30T21:04:39.961197+00:00","queued_at":"2026-11-30T21:04:39.961197+00:00","started_at":"2026-11-30T21:04:39.97131+00:00","completed_at":"2026-11-30T21:04:39.97231+00:00","approved_at":null,"lease_until":null,"duration_ms":1,"epoch":1,"claim":1,"requires_approval":false,"tool_call_id":"call_fa81dc5cfb8c_0","tool_name":"calculator","tool_version":"1","effect":"read","status":"success","arguments_hash":"e5f1d6757ff03056ae7d5bbca3d92d8dc1d41444ab4606b868149a3dae0a99d5","input":{"expression":"1337 * 42"},"output":{"expression":"1337 * 42","result":56154},"error_message":null}');
insert into tool.tool_executions select * from json_populate_record(null::tool.tool_executions, '{"id":"01a22e46-2a62-7620-b646-beb6a9939706","run_id":null,"conversation_id":null,"message_id":null,"user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","token_id":"01a22e46-294e-7919-9007-1446f15aa33f","approved_by":null,"created_at":"2026-11-30T21:04:40.03509+00:00","queued_at":"2026-11-30T21:04:40.03509+00:00","started_at":"2026-11-30T21:04:40.03509+00:00","completed_at":"2026-11-30T21:04:40.03509+00:00","approved_at":null,"lease_until":null,"duration_ms":0,"epoch":0,"claim":1,"requires_approval":false,"tool_call_id":"call_1","tool_name":"calculator","tool_version":"1","effect":"read","status":"success","arguments_hash":"6c999e8be82ce7d6df623904418f64c10ca29896d1d672de34b82f7976f4d3e2","input":{"expression": "1337 * 42"},"output":{"expression":"1337 * 42","result":56154},"error_message":null}');
insert into tool.tool_executions select * from json_populate_record(null::tool.tool_executions, '{"id":"01a22e46-2a95-7378-b1d5-b401556fd87e","run_id":null,"conversation_id":null,"message_id":null,"user_id":"01a22e46-26aa-79b9-b5d3-8b40cd3a574f","token_id":"01a22e46-294e-7919-9007-1446f15aa33f","approved_by":null,"created_at":"2026-11-30T21:04:40.08927+00:00","queued_at":"2026-11-30T21:04:40.08927+00:00","started_at":"2026-11-30T21:04:40.08927+00:00","completed_at":"2026-11-30T21:04:40.08927+00:00","approved_at":null,"lease_until":null,"duration_ms":0,"epoch":0,"claim":1,"requires_approval":false,"tool_call_id":"call_f6f61ac2dcc1_0","tool_name":"calculator","tool_version":"1","effect":"read","status":"success","arguments_hash":"e5f1d6757ff03056ae7d5bbca3d92d8dc1d41444ab4606b868149a3dae0a99d5","input":{"expression":"1337 * 42"},"output":{"expression":"1337 * 42","result":56154},"error_message":null}');
select setval('auth.migrations_id_seq', 1);
select setval('conversation.migrations_id_seq', 1);
select setval('tool.migrations_id_seq', 1);
