-- Rules of separation that hold below the application: whatever statement it sends, these stay. Idempotent.

-- Two-person release (crm_server/domain/approvals): what was asked for is frozen, a request goes forward only, and
-- nothing is released or carried out without the persons that it needs.
create or replace function identity.guard_approval() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
declare
  yes integer;
begin
  if tg_op = 'INSERT' then
    if new.state <> 'pending' or new.decided_by is not null or new.executed_at is not null then
      raise exception 'approval: a request begins as pending' using errcode = 'check_violation';
    end if;
    if new.needed < (case when new.requested_by is null then 2 else 1 end) then
      raise exception 'approval: too few persons' using errcode = 'check_violation';
    end if;
    return new;
  end if;
  if (new.kind, new.reason, new.parameters, new.digest, new.needed, new.created_at)
       is distinct from (old.kind, old.reason, old.parameters, old.digest, old.needed, old.created_at)
     or new.requested_by is distinct from old.requested_by or new.due_at is distinct from old.due_at then
    raise exception 'approval: what was asked for is frozen' using errcode = 'check_violation';
  end if;
  if new.decided_by is not null and new.decided_by = new.requested_by then
    raise exception 'approval: nobody decides about their own request' using errcode = 'check_violation';
  end if;
  if new.state <> old.state then
    if not (old.state = 'pending' and new.state in ('released', 'vetoed', 'withdrawn', 'expired')
            or old.state = 'released' and new.state in ('executed', 'failed', 'vetoed', 'withdrawn', 'expired')) then
      raise exception 'approval: % does not follow %', new.state, old.state using errcode = 'check_violation';
    end if;
    if new.state = 'released' then
      select count(*) into yes from approval_vote v where v.approval_id = new.id;
      if yes < new.needed and (new.due_at is null or new.due_at > clock_timestamp()) then
        raise exception 'approval: a second person has not released this' using errcode = 'check_violation';
      end if;
    end if;
  end if;
  return new;
end
$$;

create or replace function identity.guard_vote() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
declare
  asked record;
begin
  select state, requested_by into asked from approval where id = new.approval_id for update;
  if asked.state is distinct from 'pending' then
    raise exception 'approval: this request is no longer open' using errcode = 'check_violation';
  end if;
  if asked.requested_by = new.user_id then
    raise exception 'approval: nobody releases their own request' using errcode = 'check_violation';
  end if;
  return new;
end
$$;

drop trigger if exists guard on identity.approval;
create trigger guard before insert or update on identity.approval
  for each row execute function identity.guard_approval();
drop trigger if exists guard on identity.approval_vote;
create trigger guard before insert on identity.approval_vote
  for each row execute function identity.guard_vote();

-- What the sealer may know of a request to open a successor of the log (`kontor audit fork`): it was released, and by
-- whom. The sealer's role reads nothing else of the requests.
create or replace function audit.released_fork(request uuid)
returns table (log text, successor text, reason text, digest text, persons uuid[])
language sql stable security definer set search_path = pg_catalog, identity
as $$
  select a.parameters ->> 'log', a.parameters ->> 'successor', a.reason, a.digest,
         array_remove(a.requested_by || array(select v.user_id from approval_vote v where v.approval_id = a.id
                                               order by v.voted_at, v.user_id), null)
    from approval a
   where a.id = request and a.kind = 'audit.fork' and a.state = 'released' and a.expires_at > now()
$$;
revoke all on function audit.released_fork(uuid) from public;
grant execute on function audit.released_fork(uuid) to kontor_sealer;

-- Emergency access (break-glass): what was taken, by whom and why is frozen, and nobody reviews their own.
create or replace function identity.guard_emergency() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
begin
  if (new.user_id, new.role_id, new.reason, new.created_at) is distinct from
     (old.user_id, old.role_id, old.reason, old.created_at) or new.ends_at > old.ends_at then
    raise exception 'emergency: what was taken is frozen' using errcode = 'check_violation';
  end if;
  if old.reviewed_at is not null and (new.reviewed_at, new.reviewed_by, new.review)
       is distinct from (old.reviewed_at, old.reviewed_by, old.review) then
    raise exception 'emergency: a review stays' using errcode = 'check_violation';
  end if;
  if new.reviewed_by = new.user_id then
    raise exception 'emergency: nobody reviews their own emergency access' using errcode = 'check_violation';
  end if;
  return new;
end
$$;
drop trigger if exists guard on identity.emergency;
create trigger guard before update on identity.emergency
  for each row execute function identity.guard_emergency();

-- Three kinds of administrator that no account holds together. The same rule as `permissions.administration`: any
-- permission of scope audit, and those of scope system and security that do more than read.
create or replace function identity.administration(permissions jsonb) returns text[]
language sql immutable parallel safe set search_path = pg_catalog
as $$
  select coalesce(array_agg(distinct split_part(p, ':', 1)), '{}')
    from jsonb_array_elements_text(permissions) p
   where p like 'audit:%' or ((p like 'system:%' or p like 'security:%') and p not like '%:read')
$$;

create or replace function identity.refuse_two_administrations(person uuid) returns void
language plpgsql security definer set search_path = pg_catalog, identity
as $$
begin
  -- Two grants at the same time wait for each other here, or each would miss the other's.
  perform 1 from "user" where id = person for no key update;
  if (select count(distinct k) from user_role ur join role r on r.id = ur.role_id,
             unnest(administration(r.permissions)) k where ur.user_id = person) > 1 then
    raise exception 'role: one account can hold one kind of administration only'
      using errcode = 'check_violation', constraint = 'one_administration';
  end if;
end
$$;

create or replace function identity.guard_user_role() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
begin
  -- A role that is being changed is waited for, so that its new permissions count.
  perform 1 from role where id = new.role_id for share;
  perform refuse_two_administrations(new.user_id);
  return null;
end
$$;

create or replace function identity.guard_role() returns trigger
language plpgsql security definer set search_path = pg_catalog, identity
as $$
begin
  if cardinality(administration(new.permissions)) > 1 then
    raise exception 'role: one role can give one kind of administration only'
      using errcode = 'check_violation', constraint = 'one_administration';
  end if;
  if tg_op = 'UPDATE' and new.permissions is distinct from old.permissions then
    perform refuse_two_administrations(ur.user_id) from user_role ur where ur.role_id = new.id;
  end if;
  return null;
end
$$;

drop trigger if exists guard on identity.user_role;
create trigger guard after insert or update on identity.user_role
  for each row execute function identity.guard_user_role();
drop trigger if exists guard on identity.role;
create trigger guard after insert or update of permissions on identity.role
  for each row execute function identity.guard_role();
