-- The service works under roles that own nothing: one for what it does for everybody, one for what a single user asked for. To the second,
-- a row that is not that user's does not exist, whatever a statement says; without a user there is no row at all.

-- Roles are of the whole cluster: another database, or an administrator, may have made them already.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['turnwright_auth', 'turnwright_auth_user'] loop
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

grant usage on schema auth to turnwright_auth, turnwright_auth_user;
grant select, insert, update on auth.users, auth.signing_keys to turnwright_auth;
grant select, insert, update, delete on auth.user_tokens, auth.revocations, auth.login_attempts, auth.spend_reservations, auth.usage
  to turnwright_auth;
grant select on auth.usage to turnwright_auth_user;
grant select, update on auth.user_tokens to turnwright_auth_user;
grant insert on auth.revocations to turnwright_auth_user;
grant insert on auth.audit_log to turnwright_auth, turnwright_auth_user;

alter table auth.users enable row level security, force row level security;
alter table auth.user_tokens enable row level security, force row level security;
alter table auth.signing_keys enable row level security, force row level security;
alter table auth.revocations enable row level security, force row level security;
alter table auth.login_attempts enable row level security, force row level security;
alter table auth.spend_reservations enable row level security, force row level security;
alter table auth.usage enable row level security, force row level security;
alter table auth.audit_log enable row level security, force row level security;
alter table auth.audit_head enable row level security, force row level security;

create policy for_service on auth.users to turnwright_auth using (true);
create policy for_service on auth.user_tokens to turnwright_auth using (true);
create policy for_service on auth.signing_keys to turnwright_auth using (true);
create policy for_service on auth.revocations to turnwright_auth using (true);
create policy for_service on auth.login_attempts to turnwright_auth using (true);
create policy for_service on auth.spend_reservations to turnwright_auth using (true);
create policy for_service on auth.usage to turnwright_auth using (true);

create policy for_user on auth.user_tokens to turnwright_auth_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
create policy for_user on auth.usage to turnwright_auth_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));

-- Written by a trigger, whoever ends a credential.
create policy announced on auth.revocations for insert to turnwright_auth_user with check (true);

-- Whoever may write to the log at all may add any event; reading is its owner's, who also keeps the head.
create policy appendable on auth.audit_log for insert with check (true);
create policy readable on auth.audit_log for select using (true);
create policy for_owner on auth.audit_head to current_user using (true);
