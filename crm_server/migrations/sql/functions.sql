-- Functions and trigger procedures that every record table shares. Applied by migrations; idempotent.

-- UUIDv7 (RFC 9562 §5.7) for rows that are written by SQL and not by the application.
create or replace function kontor.uuid7() returns uuid
language sql volatile parallel safe
set search_path = pg_catalog
as $$
  select encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
              from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid
$$;

-- Ends the transaction of an actor that a node recalled and who isn't any more who they were (crm_server/kernel/recalled.py).
create or replace function kontor.outdated() returns boolean
language plpgsql volatile
set search_path = pg_catalog
as $$
begin
  raise exception 'what was known about the actor has changed' using errcode = 'KN001';
end
$$;

-- The backstop of audit capture: fires only for rows whose event_id was not renewed, that is for bulk statements,
-- Core statements and raw SQL. It writes the event that the application did not write, and names the columns.
create or replace function kontor.capture_change() returns trigger
language plpgsql security definer
set search_path = pg_catalog, audit, kontor
as $$
declare
  changed text[];
  entity smallint := tg_argv[0]::smallint;
  record_id uuid;
  actor uuid := coalesce(nullif(current_setting('kontor.actor', true), ''), '00000000-0000-0000-0000-000000000000')::uuid;
  request uuid := nullif(current_setting('kontor.request', true), '')::uuid;
  source text := coalesce(nullif(current_setting('kontor.origin', true), ''), 'sql');
  fresh uuid := kontor.uuid7();
  -- When something was last used is bookkeeping: the use has an event of its own, and nobody edits these columns, so
  -- they are no change of the record and raise no version.
  bookkeeping constant text[] := array['last_used_at', 'last_login_at'];
begin
  if tg_op = 'UPDATE' then
    select array_agg(n.key order by n.key) into changed
      from jsonb_each(to_jsonb(new)) n join jsonb_each(to_jsonb(old)) o on o.key = n.key
     where n.value is distinct from o.value;
    if changed is null or changed <@ bookkeeping then
      return new;
    end if;
    record_id := new.id;
    if new.version = old.version then
      new.version := old.version + 1;
    end if;
    new.event_id := fresh;
  elsif tg_op = 'INSERT' then
    record_id := new.id;
    new.event_id := fresh;
  else
    record_id := old.id;
  end if;
  insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, auth_method,
                           request_id, origin, object_type, object_ref, meta)
  values (fresh, clock_timestamp(), 'change',
          case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'purge' end,
          'success', actor, session_user, request, source, entity, record_id,
          jsonb_build_object('capture', 'trigger', 'columns', coalesce(to_jsonb(changed), '[]'::jsonb)));
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end
$$;

-- The change feed. One statement, one insert, however many rows: a transition table names them.
create or replace function kontor.feed_insert() returns trigger
language plpgsql security definer set search_path = pg_catalog, crm
as $$
begin
  insert into crm.change (entity, record_id, operation, version, changed_at)
  select tg_argv[0]::smallint, id, 'create', version, clock_timestamp() from fresh;
  return null;
end
$$;

create or replace function kontor.feed_update() returns trigger
language plpgsql security definer set search_path = pg_catalog, crm
as $$
begin
  insert into crm.change (entity, record_id, operation, version, changed_at)
  select tg_argv[0]::smallint, f.id,
         case when f.deleted_at is not null and s.deleted_at is null then 'delete'
              when f.deleted_at is null and s.deleted_at is not null then 'restore'
              else 'update' end,
         f.version, clock_timestamp()
    from fresh f join stale s on s.id = f.id;
  return null;
end
$$;

create or replace function kontor.feed_delete() returns trigger
language plpgsql security definer set search_path = pg_catalog, crm
as $$
begin
  insert into crm.change (entity, record_id, operation, version, changed_at)
  select tg_argv[0]::smallint, id, 'purge', version, clock_timestamp() from stale;
  return null;
end
$$;

-- Attach the triggers of a record table. `feed` is false for tables that are audited but not in the change feed.
create or replace function kontor.attach_record_triggers(target regclass, entity smallint, feed boolean)
returns void
language plpgsql set search_path = pg_catalog
as $$
begin
  execute format('drop trigger if exists capture_insert on %s', target);
  execute format('drop trigger if exists capture_update on %s', target);
  execute format('drop trigger if exists capture_delete on %s', target);
  execute format('create trigger capture_insert before insert on %s for each row
                  when (new.event_id is null) execute function kontor.capture_change(%L)', target, entity);
  execute format('create trigger capture_update before update on %s for each row
                  when (new.event_id is not distinct from old.event_id)
                  execute function kontor.capture_change(%L)', target, entity);
  execute format('create trigger capture_delete before delete on %s for each row
                  execute function kontor.capture_change(%L)', target, entity);
  execute format('drop trigger if exists feed_insert on %s', target);
  execute format('drop trigger if exists feed_update on %s', target);
  execute format('drop trigger if exists feed_delete on %s', target);
  if feed then
    execute format('create trigger feed_insert after insert on %s referencing new table as fresh
                    for each statement execute function kontor.feed_insert(%L)', target, entity);
    execute format('create trigger feed_update after update on %s referencing new table as fresh old table as stale
                    for each statement execute function kontor.feed_update(%L)', target, entity);
    execute format('create trigger feed_delete after delete on %s referencing old table as stale
                    for each statement execute function kontor.feed_delete(%L)', target, entity);
  end if;
end
$$;
