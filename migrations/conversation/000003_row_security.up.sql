-- The service works under roles that own nothing: one for what it does for everybody, one for what a single user asked for. To the second,
-- a row that is not that user's does not exist, whatever a statement says; without a user there is no row at all.

-- Roles are of the whole cluster: another database, or an administrator, may have made them already.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['turnwright_conversation', 'turnwright_conversation_user'] loop
    if not exists (select from pg_roles where rolname = role_name) then
      begin
        execute format('create role %I nologin nobypassrls', role_name);
      exception
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          raise exception 'the role % is missing and % may not create it', role_name, current_user
            using hint = format('As an administrator: create role %I nologin; grant %I to %I;', role_name, role_name, current_user);
      end;
    end if;
    -- A superuser may take any role; who created one may take it only once it is granted.
    if not (select rolsuper from pg_roles where rolname = current_user) then
      begin
        execute format('grant %I to %I', role_name, current_user);
      exception when insufficient_privilege then
        if not pg_has_role(current_user, role_name, 'member') then
          raise exception '% is not a member of the role % and may not become one', current_user, role_name
            using hint = format('As an administrator: grant %I to %I;', role_name, current_user);
        end if;
      end;
    end if;
  end loop;
end $$;

grant usage on schema conversation to turnwright_conversation, turnwright_conversation_user;
grant select, insert, update on conversation.conversations, conversation.user_totals, conversation.messages, conversation.runs,
  conversation.run_events, conversation.approvals to turnwright_conversation;
grant select, update on conversation.conversations, conversation.user_totals, conversation.runs, conversation.approvals
  to turnwright_conversation_user;
grant select on conversation.messages to turnwright_conversation_user;
grant select, insert on conversation.run_events to turnwright_conversation_user;
grant insert on conversation.audit_log to turnwright_conversation, turnwright_conversation_user;

alter table conversation.conversations enable row level security, force row level security;
alter table conversation.user_totals enable row level security, force row level security;
alter table conversation.messages enable row level security, force row level security;
alter table conversation.runs enable row level security, force row level security;
alter table conversation.run_events enable row level security, force row level security;
alter table conversation.approvals enable row level security, force row level security;
alter table conversation.audit_log enable row level security, force row level security;
alter table conversation.audit_head enable row level security, force row level security;

create policy for_service on conversation.conversations to turnwright_conversation using (true);
create policy for_service on conversation.user_totals to turnwright_conversation using (true);
create policy for_service on conversation.messages to turnwright_conversation using (true);
create policy for_service on conversation.runs to turnwright_conversation using (true);
create policy for_service on conversation.run_events to turnwright_conversation using (true);
create policy for_service on conversation.approvals to turnwright_conversation using (true);

create policy for_user on conversation.conversations to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
create policy for_user on conversation.user_totals to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
-- What a user writes must stand in that user's own conversation too.
create policy for_user on conversation.runs to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid))
with check (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid) and exists (
  select from conversation.conversations c where c.id = conversation_id and c.user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid)
));
create policy for_user on conversation.approvals to turnwright_conversation_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid))
with check (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid) and exists (
  select from conversation.runs r
  where r.run_id = approvals.run_id and r.conversation_id = approvals.conversation_id and r.user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid)
));
create policy for_user on conversation.messages to turnwright_conversation_user using (exists (
  select from conversation.conversations c where c.id = conversation_id and c.user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid)
));
create policy for_user on conversation.run_events to turnwright_conversation_user using (exists (
  select from conversation.runs r where r.run_id = run_events.run_id and r.user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid)
));

-- Whoever may write to the log at all may add any event; reading is its owner's, who also keeps the head.
create policy appendable on conversation.audit_log for insert with check (true);
create policy readable on conversation.audit_log for select using (true);
create policy for_owner on conversation.audit_head to current_user using (true);
