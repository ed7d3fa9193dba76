-- Admins read and verify the log through the service. Requests of single users still cannot read it.
grant select on auth.audit_log, auth.audit_head to turnwright_auth;
create policy for_service on auth.audit_head for select to turnwright_auth using (true);

-- Finds the entries of a period.
create index audit_log_by_time on auth.audit_log (at);
