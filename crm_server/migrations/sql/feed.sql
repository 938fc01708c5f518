-- How the search service reads the change feed. The policies on crm.change are asked for each kind of record, which takes
-- longer to plan than to answer; the service looks before each of its answers. So these functions read past them for the
-- system alone, which the policies would let through in any case. Idempotent.

create or replace function kontor.feed_after(after_xid xid8, after_seq bigint, most integer)
returns table (xid text, seq bigint, entity smallint, record_id bytea)
language plpgsql stable security definer set search_path = pg_catalog, crm, kontor
as $$
begin
  if not kontor.is_system() then
    raise exception 'only the system reads the whole change feed' using errcode = 'insufficient_privilege';
  end if;
  return query
    select c.xid::text, c.seq, c.entity, uuid_send(c.record_id) from crm.change c
     where (c.xid, c.seq) > (after_xid, after_seq) order by c.xid, c.seq limit most;
end
$$;

create or replace function kontor.feed_newest(after_seq bigint, most integer)
returns table (seq bigint, entity smallint, record_id bytea)
language plpgsql stable security definer set search_path = pg_catalog, crm, kontor
as $$
begin
  if not kontor.is_system() then
    raise exception 'only the system reads the whole change feed' using errcode = 'insufficient_privilege';
  end if;
  return query
    select c.seq, c.entity, uuid_send(c.record_id) from crm.change c
     where c.seq > after_seq order by c.seq limit most;
end
$$;

-- What has changed of one kind of record that a snapshot didn't see, for a run of many batches that remembers what it has
-- read; new records of transactions that it knows are left out. It tells keys and versions, whoever asks; what stands behind a
-- key is read under the row rules like anything else.
create or replace function kontor.changed_since(kind smallint, since pg_snapshot, known xid8[])
returns table (record_id uuid, version integer)
language sql stable security definer set search_path = pg_catalog, crm
as $$
  select c.record_id, max(c.version) from crm.change c
   where c.xid >= pg_snapshot_xmin(since) and c.entity = kind and not pg_visible_in_snapshot(c.xid, since)
     and not (c.operation = 'create' and c.xid = any (known))
   group by c.record_id
$$;

revoke execute on function kontor.feed_after(xid8, bigint, integer), kontor.feed_newest(bigint, integer),
  kontor.changed_since(smallint, pg_snapshot, xid8[]) from public;
grant execute on function kontor.feed_after(xid8, bigint, integer), kontor.feed_newest(bigint, integer),
  kontor.changed_since(smallint, pg_snapshot, xid8[]) to kontor_app;
