-- The credential that a decision came with. It names the decider; the run acts as the credential in runs.token_id, which started it.

alter table conversation.approvals
  add column decided_token_id uuid,
  add column decided_token_type text check (decided_token_type in ('session', 'api_key'));

comment on column conversation.approvals.decided_token_id is 'For the record alone: nothing is done as this credential.';
