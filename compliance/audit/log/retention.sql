-- Pruning: what retention removes from the log, and nothing else (AUD-11). Applied by migrations; idempotent.
--
-- Rows go only when a *sealed* event audit/prune names their indexes, they are older than six months, and they are no
-- event of the log about itself. So the application can't remove an event in silence, and a run that was cut off in
-- the middle is simply carried on. Leaves with their hashes stay. Of a log that is closed its successor tells, by
-- audit/prune_closed with the number of the log.
create or replace function audit.delete_pruned(prune_event uuid) returns bigint
language plpgsql security definer
set search_path = pg_catalog, audit
as $$
declare
  told record;
  span jsonb;
  removed bigint := 0;
  part bigint;
  limit_time constant timestamptz := now() - interval '6 months';
begin
  select e.meta, case e.action when 'prune' then l.log else (e.meta ->> 'log')::integer end as log into told
    from audit.event e join audit.leaf l on l.event_id = e.event_id
   where e.event_id = prune_event and e.event_class = 'audit' and e.action in ('prune', 'prune_closed')
     and l.index < (select max(c.size) from audit.checkpoint c where c.log = l.log);
  if not found then
    raise exception 'no sealed event audit/prune has this key' using errcode = 'no_data_found';
  end if;
  for span in select value from jsonb_array_elements(told.meta -> 'ranges') loop
    if exists (select from audit.leaf l join audit.event e on e.event_id = l.event_id
                where l.log = told.log and l.index between (span ->> 0)::bigint and (span ->> 1)::bigint
                  and (e.occurred_at > limit_time or e.event_class = 'audit')) then
      raise exception 'events younger than six months, and those of the log about itself, are not removed'
        using errcode = 'check_violation';
    end if;
    delete from audit.event_payload p using audit.leaf l
     where l.log = told.log and l.index between (span ->> 0)::bigint and (span ->> 1)::bigint
       and p.event_id = l.event_id;
    delete from audit.event e using audit.leaf l
     where l.log = told.log and l.index between (span ->> 0)::bigint and (span ->> 1)::bigint
       and e.event_id = l.event_id;
    get diagnostics part = row_count;
    removed := removed + part;
  end loop;
  return removed;
end
$$;
revoke all on function audit.delete_pruned(uuid) from public;
