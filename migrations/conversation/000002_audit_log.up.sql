-- The audit log of decisions: each entry holds the hash of the one before it; nothing is ever changed or taken out.
create table conversation.audit_log (
  seq bigint primary key,
  at timestamptz not null,
  event text not null,
  previous_hash bytea not null,
  hash bytea not null
);
create table conversation.audit_head (
  only_one boolean primary key default true check (only_one),
  seq bigint not null,
  hash bytea not null
);
insert into conversation.audit_head (seq, hash) values (0, sha256('turnwright audit log'));

create function conversation.chain_audit_event() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
declare
  head conversation.audit_head;
begin
  select * into strict head from conversation.audit_head for update;
  new.seq := head.seq + 1;
  new.at := clock_timestamp();
  new.previous_hash := head.hash;
  new.hash := sha256(head.hash || convert_to(
    new.seq || '|' || to_char(new.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || new.event, 'UTF8'));
  update conversation.audit_head set seq = new.seq, hash = new.hash;
  return new;
end $$;
create trigger audit_log_chain before insert on conversation.audit_log
  for each row execute function conversation.chain_audit_event();

create function conversation.refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_log_append_only before update or delete on conversation.audit_log
  for each row execute function conversation.refuse_audit_change();
create trigger audit_log_no_truncate before truncate on conversation.audit_log
  for each statement execute function conversation.refuse_audit_change();
