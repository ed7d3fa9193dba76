drop index auth.audit_log_by_time;
drop policy for_service on auth.audit_head;
revoke select on auth.audit_log, auth.audit_head from turnwright_auth;
