-- What row rules stand on: who asks, what they told of their reach, and the paths of the tree of territories. The
-- policies themselves are written by crm_server/kernel/rowsql.py. Applied by migrations after the tables; idempotent.

create or replace function kontor.actor_id() returns uuid
language sql stable parallel safe
as $$ select nullif(current_setting('kontor.actor', true), '')::uuid $$;

-- Whether the transaction told a token of its actor's reach (crm_server/kernel/rowrules.py). One that told nothing
-- reaches nothing.
create or replace function kontor.reaches(token text) returns boolean
language sql stable parallel safe
as $$ select coalesce(strpos(current_setting('kontor.rows', true), token) > 0, false) $$;

create or replace function kontor.is_system() returns boolean
language sql stable parallel safe
as $$ select coalesce(current_setting('kontor.rows', true) = '*', false) $$;

create or replace function kontor.reaches_all(token text) returns boolean
language sql stable parallel safe
as $$ select coalesce(current_setting('kontor.rows', true) = '*'
                      or strpos(current_setting('kontor.rows', true), token) > 0, false) $$;

create or replace function kontor.territory_added() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
begin
  insert into identity.territory_path (ancestor_id, territory_id)
  with recursive up (territory_id, ancestor_id) as (
    select id, id from fresh
    union
    select up.territory_id, t.parent_id from up join identity.territory t on t.id = up.ancestor_id
     where t.parent_id is not null)
  select ancestor_id, territory_id from up
  on conflict do nothing;
  return null;
end
$$;

create or replace function kontor.territory_moved() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
declare
  moved uuid[];
begin
  select array_agg(distinct p.territory_id) into moved
    from fresh f join stale s on s.id = f.id and s.parent_id is distinct from f.parent_id
    join identity.territory_path p on p.ancestor_id = f.id;
  if moved is null then
    return null;
  end if;
  delete from identity.territory_path where territory_id = any (moved);
  insert into identity.territory_path (ancestor_id, territory_id)
  with recursive up (territory_id, ancestor_id) as (
    select one, one from unnest(moved) as one
    union
    select up.territory_id, t.parent_id from up join identity.territory t on t.id = up.ancestor_id
     where t.parent_id is not null)
  select ancestor_id, territory_id from up;
  return null;
end
$$;

drop trigger if exists territory_added on identity.territory;
create trigger territory_added after insert on identity.territory referencing new table as fresh
  for each statement execute function kontor.territory_added();
drop trigger if exists territory_moved on identity.territory;
create trigger territory_moved after update on identity.territory referencing new table as fresh old table as stale
  for each statement execute function kontor.territory_moved();
revoke insert, update, delete on identity.territory_path from kontor_app;
