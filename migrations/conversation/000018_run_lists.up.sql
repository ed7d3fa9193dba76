-- Lists of runs with filters. A constant default: no row is rewritten.

alter table conversation.runs add column error_reason text not null default '';

comment on column conversation.runs.error_reason is
  'Why it failed, as the last entry of its log says; empty unless it failed. Kept by a trigger, whatever statement ends the run.';

create function conversation.note_error_reason() returns trigger language plpgsql as $$
begin
  update conversation.runs set error_reason = regexp_replace(coalesce(new.payload ->> 'reason', ''), '^ERROR_REASON_', '')
  where run_id = new.run_id;
  return null;
end $$;

create trigger run_events_error_reason after insert on conversation.run_events
  for each row when (new.type = 'failed')
  execute function conversation.note_error_reason();

-- The owner of the tables has no policy of its own.
alter table conversation.runs no force row level security;
alter table conversation.run_events no force row level security;
update conversation.runs r set error_reason = regexp_replace(coalesce(e.payload ->> 'reason', ''), '^ERROR_REASON_', '')
from conversation.run_events e
where r.status = 'failed' and e.run_id = r.run_id and e.seq = r.seq and e.type = 'failed';
alter table conversation.runs force row level security;
alter table conversation.run_events force row level security;

-- What a user's list may be narrowed by stands in the index, so that runs which do not fit are passed over without reading them.
drop index conversation.runs_by_user;
create index runs_by_user on conversation.runs (user_id, created_at desc, run_id desc, status, token_id, error_reason);
-- The list of all accounts.
create index runs_by_time on conversation.runs (created_at desc, run_id desc);
