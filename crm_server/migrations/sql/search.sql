-- Rights on the blind indexes (crm_server/kernel/models.py), and what removes the tokens of removed rows. Idempotent.
grant usage on schema search to kontor_app;
grant select, insert, delete on search.token, search.token_index to kontor_app;

-- Whatever removes a row with sealed documents, cascades and raw SQL included, removes its tokens.
create or replace function search.forget_tokens() returns trigger
language plpgsql security definer set search_path = pg_catalog
as $$
begin
  delete from search.token t using stale s where t.record_id = s.id;
  return null;
end
$$;
do $$
declare
  target regclass;
begin
  for target in select attrelid::regclass from pg_attribute a join pg_class c on c.oid = a.attrelid
                 where a.attname = 'sealed_version' and not a.attisdropped and c.relkind in ('r', 'p') loop
    execute format('drop trigger if exists forget_tokens on %s', target);
    execute format('create trigger forget_tokens after delete on %s referencing old table as stale
                    for each statement execute function search.forget_tokens()', target);
  end loop;
end
$$;
