-- Monthly partitions of the tables of the log. Applied by migrations as the owner; idempotent.
--
-- Keys of events are UUIDv7, so ranges of keys are ranges of time: the key alone is the partition key, stays the whole
-- primary key, and no query needs to name a month. Partitions live in a schema of their own. Every access goes through
-- the parents and their rights but one: the application appends an event to its month directly (compliance/audit/months.py).
create schema if not exists audit_part;

-- The smallest UUIDv7 of a moment (RFC 9562 §5.7).
create or replace function audit.key_at(moment timestamptz) returns uuid
language sql immutable parallel safe
set search_path = pg_catalog
as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Let the application append to the months as it may to their parents: the same columns, and to nothing else.
create or replace function audit.open_partitions() returns void
language plpgsql security definer
set search_path = pg_catalog, audit
as $$
declare
  part record;
begin
  if to_regrole('kontor_app') is null then
    return;
  end if;
  grant usage on schema audit_part to kontor_app;
  for part in
    select i.inhrelid::regclass as name, string_agg(quote_ident(a.attname), ', ') as columns
      from pg_inherits i join pg_attribute a on a.attrelid = i.inhparent
     where i.inhparent in ('audit.event'::regclass, 'audit.event_payload'::regclass)
       and a.attnum > 0 and not a.attisdropped
       and has_column_privilege('kontor_app', i.inhparent, a.attnum, 'insert')
     group by i.inhrelid
  loop
    execute format('grant insert (%s), select (event_id) on %s to kontor_app', part.columns, part.name);
  end loop;
end
$$;
revoke all on function audit.open_partitions() from public;

-- Make the partitions of this month and `ahead` more that are missing; returns their names. The first one reaches back
-- to the beginning. What fits no month (a clock that is wrong by months) lies in `…_other` until its month is made, so
-- that a late job or a wrong clock never keeps an act from leaving its event.
create or replace function audit.make_partitions(ahead integer default 3) returns setof text
language plpgsql security definer
set search_path = pg_catalog, audit
as $$
declare
  parent text;
  month timestamptz;
  low text;
  high text;
  name text;
  misplaced boolean;
begin
  if ahead not between 0 and 24 then
    raise exception 'ahead must lie between 0 and 24';
  end if;
  perform pg_advisory_xact_lock(5355482302290);
  foreach parent in array array['event', 'event_payload', 'leaf'] loop
    if to_regclass(format('audit_part.%I', parent || '_other')) is null then
      execute format('create table audit_part.%I partition of audit.%I default', parent || '_other', parent);
    end if;
    for i in 0..ahead loop
      month := (date_trunc('month', now() at time zone 'UTC') + make_interval(months => i)) at time zone 'UTC';
      name := parent || to_char(month at time zone 'UTC', '"_"YYYY"_"MM');
      continue when to_regclass(format('audit_part.%I', name)) is not null;
      high := quote_literal(audit.key_at(((month at time zone 'UTC') + interval '1 month') at time zone 'UTC'));
      low := quote_literal(audit.key_at(month));
      if not exists (select from pg_inherits where inhparent = format('audit.%I', parent)::regclass
                        and inhrelid <> to_regclass(format('audit_part.%I', parent || '_other'))) then
        low := 'minvalue';
      end if;
      execute format('select exists (select from audit_part.%I where event_id < %s and %s)', parent || '_other', high,
                     case low when 'minvalue' then 'true' else format('event_id >= %s', low) end)
        into misplaced;
      -- The event of a list of 50 stays in one piece: compressing and moving it took a quarter of what it costs.
      execute format('create table audit_part.%I (like audit.%I including all) with (toast_tuple_target = 4080)',
                     name, parent);
      if misplaced then
        execute format('with moved as (delete from audit_part.%I where event_id < %s and %s returning *) '
                       'insert into audit_part.%I select * from moved', parent || '_other', high,
                       case low when 'minvalue' then 'true' else format('event_id >= %s', low) end, name);
      end if;
      execute format('alter table audit.%I attach partition audit_part.%I for values from (%s) to (%s)',
                     parent, name, low, high);
      return next name;
    end loop;
  end loop;
  perform audit.open_partitions();
end
$$;
revoke all on function audit.make_partitions(integer) from public;

-- How many months ahead there is room, and how many events lie outside every month. What the alarm looks at.
create or replace function audit.partitions() returns table (months_ahead integer, misplaced bigint)
language plpgsql security definer stable
set search_path = pg_catalog, audit
as $$
begin
  return query
    select (select count(*)::integer - 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'audit_part' and c.relkind = 'r' and c.relname ~ '^event_\d{4}_\d\d$'
               and c.relname >= 'event_' || to_char(now() at time zone 'UTC', 'YYYY_MM')),
           (select count(*) from (select from audit_part.event_other limit 10000) found);
end
$$;
revoke all on function audit.partitions() from public;

-- File what this month's events have noted for the index of whom they are about. Whoever reads only notes it: a request
-- that had to file what a hundred others had noted would take 10 to 40 ms longer.
create or replace function audit.file_subjects() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
  perform gin_clean_pending_list(found.indexrelid)
    from pg_inherits i
    join pg_index found on found.indexrelid = i.inhrelid
    join pg_class month on month.oid = found.indrelid
   where i.inhparent = 'audit.ix_event_subject'::regclass
     and month.relname = 'event_' || to_char(now() at time zone 'UTC', 'YYYY_MM');
end
$$;
revoke all on function audit.file_subjects() from public;

select audit.make_partitions(3);
