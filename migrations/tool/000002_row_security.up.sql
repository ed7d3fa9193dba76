-- The service works under two roles that own nothing: one for its own work, one for a single user's requests. To the
-- second, rows of other users do not exist, in any statement; without a user there are no rows at all.

-- Roles belong to the whole cluster: another database, or an administrator, may have created them already.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['turnwright_tool', 'turnwright_tool_user'] loop
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
    -- A superuser may take any role. The creator of a role may take it only once it is granted.
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

grant usage on schema tool to turnwright_tool, turnwright_tool_user;
grant select, insert, update on tool.tool_executions to turnwright_tool;
grant select on tool.tool_executions to turnwright_tool_user;

alter table tool.tool_executions enable row level security, force row level security;

create policy for_service on tool.tool_executions to turnwright_tool using (true);

create policy for_user on tool.tool_executions to turnwright_tool_user using (user_id = (select nullif(current_setting('turnwright.user_id', true), '')::uuid));
