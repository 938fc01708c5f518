-- Rules of the key tables (crm_server/domain/keys/models.py) that models can't say, and the rights on them. Idempotent.

-- A tombstone stays as it is, and no row is ever removed: an erased key id can't come back (ENC-6). Other rows change
-- in their wrapping and their state alone.
create or replace function keys.guard_data_key() returns trigger
language plpgsql set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    raise exception 'keys.data_key: rows are erased, never deleted' using errcode = 'restrict_violation';
  end if;
  if old.state = 'erased' then
    raise exception 'keys.data_key: an erased key stays erased' using errcode = 'restrict_violation';
  end if;
  if (new.kid, new.tenant, new.subject, new.class, new.generation, new.kcv, new.created_at)
     is distinct from (old.kid, old.tenant, old.subject, old.class, old.generation, old.kcv, old.created_at) then
    raise exception 'keys.data_key: a key keeps its id, owner and check value' using errcode = 'restrict_violation';
  end if;
  if new.epoch < old.epoch then
    raise exception 'keys.data_key: a key never goes back to an earlier epoch' using errcode = 'restrict_violation';
  end if;
  if new.state = 'erased' and old.state = 'held' then
    raise exception 'keys.data_key: a held key can''t be erased' using errcode = 'restrict_violation';
  end if;
  return new;
end
$$;
drop trigger if exists guard on keys.data_key;
create trigger guard before update or delete on keys.data_key for each row execute function keys.guard_data_key();

-- Nothing is wrapped under an epoch that is about to go: its destruction has counted its keys already (ENC-9).
create or replace function keys.guard_epoch() returns trigger
language plpgsql set search_path = pg_catalog
as $$
begin
  if exists (select from fresh f join keys.epoch e on e.number = f.epoch
              where f.state <> 'erased' and e.state in ('destroying', 'destroyed')) then
    raise exception 'keys.data_key: this epoch is destroyed' using errcode = 'restrict_violation';
  end if;
  return null;
end
$$;
drop trigger if exists guard_epoch_insert on keys.data_key;
create trigger guard_epoch_insert after insert on keys.data_key referencing new table as fresh
for each statement execute function keys.guard_epoch();
drop trigger if exists guard_epoch_update on keys.data_key;
create trigger guard_epoch_update after update on keys.data_key referencing new table as fresh
for each statement execute function keys.guard_epoch();

-- Tell every process of erased keys, so that it drops them from its cache within a second (ENC-15). A message holds
-- 8,000 bytes at most: more than 200 keys at once clear the caches.
-- Mass shredding by mistake is what is feared most: a transaction erases 1,000 keys at most. A replay after a restore
-- may erase more, for those were erased before.
create or replace function keys.tell_erased() returns trigger
language plpgsql set search_path = pg_catalog
as $$
declare
  number bigint;
  names text;
  whole bigint;
begin
  select count(*), string_agg(encode(f.kid, 'hex'), ',') filter (where f.place <= 200) into number, names
    from (select n.kid, row_number() over () as place from fresh n join stale o on o.kid = n.kid
           where n.state = 'erased' and o.state <> 'erased') f;
  if number = 0 then
    return null;
  end if;
  whole := number + coalesce(nullif(current_setting('kontor.keys_erased', true), '')::bigint, 0);
  perform set_config('kontor.keys_erased', whole::text, true);
  if whole > 1000 and current_setting('kontor.erasures', true) is distinct from 'replay' then
    raise exception 'keys.data_key: a transaction erases 1,000 keys at most' using errcode = 'restrict_violation';
  end if;
  perform pg_notify('kontor_keys', case when number > 200 then 'clear' else 'drop ' || names end);
  return null;
end
$$;
drop trigger if exists tell_erased on keys.data_key;
create trigger tell_erased after update on keys.data_key referencing new table as fresh old table as stale
for each statement execute function keys.tell_erased();

-- Processes look anew which epoch is active.
create or replace function keys.tell_epoch() returns trigger
language plpgsql set search_path = pg_catalog
as $$
begin
  perform pg_notify('kontor_keys', 'epoch');
  return null;
end
$$;
drop trigger if exists tell_epoch on keys.epoch;
create trigger tell_epoch after insert or update on keys.epoch for each statement execute function keys.tell_epoch();

-- A node that lacks an epoch is answered by those that hold it.
create or replace function keys.tell_handover() returns trigger
language plpgsql set search_path = pg_catalog
as $$
begin
  perform pg_notify('kontor_keys', 'handover');
  return null;
end
$$;
drop trigger if exists tell_handover on keys.handover;
create trigger tell_handover after insert or update of asked_at on keys.handover
for each statement execute function keys.tell_handover();

-- Close an epoch for its destruction. Transactions that write keys end first, and none begins before the epoch is
-- closed, so that the count is final. Returns how many live keys stand against it; 0 means that it is closed.
create or replace function keys.close_epoch(number integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, keys
as $$
declare
  live bigint;
begin
  lock table keys.data_key in share row exclusive mode;
  select count(*) into live from keys.data_key d where d.epoch <= close_epoch.number and d.state <> 'erased';
  if live = 0 then
    update keys.epoch e set state = 'destroying' where e.number = close_epoch.number and e.state = 'retired';
  end if;
  return live;
end
$$;
revoke all on function keys.close_epoch(integer) from public;
grant execute on function keys.close_epoch(integer) to kontor_app;

grant usage on schema keys to kontor_app;
grant select, insert on keys.data_key, keys.epoch, keys.destruction, keys.escrow, keys.drill to kontor_app;
grant select, insert, update, delete on keys.attestation, keys.handover to kontor_app;
grant update (done_at) on keys.destruction to kontor_app;
grant update (opened_at, gone_at) on keys.escrow to kontor_app;
grant update (epoch, state, wrapped, erased_at, erase_event) on keys.data_key to kontor_app;
grant update (state, retired_at, destroyed_at, evidence) on keys.epoch to kontor_app;

-- A rotation rewrites every row: with half of each page free the new version stays on it and no index changes.
alter table keys.data_key set (fillfactor = 45);
